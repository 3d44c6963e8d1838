"""A doctor's visit: this machine, or all nodes of a profile at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from launcher.checks.probe import NodeProbe
from launcher.core.checks.facts import Question
from launcher.core.checks.questions import questions
from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import CUDA_FIX
from launcher.core.checks.toolkit_rules import doctor_rows
from launcher.core.profile.model import DeviceTarget, Node, Profile
from launcher.errors import NodeError, UsageError
from launcher.ipc.operations import CheckBackend, PrepareCuda
from launcher.machine.toolkit import target_of_machine
from launcher.remote import ssh
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.node_client import NodePool

PREPARE_LIMIT_S = 3600.0
HERE = Node(address="127.0.0.1", name="this-machine", slots=1)


def visit(
    profile: Profile | None,
    target: str,
    *,
    take: Callable[[Row], object],
    confirm_host: ConfirmHost | None,
    fix: bool,
    told: Callable[[str], object],
) -> tuple[Row, ...]:
    """-> every row, node by node, each in the order in which MindSpore's loader comes to it.

    `take` hears of a node's rows when it has answered, `told` of what was done. Raises
    `UsageError`.
    """
    wanted = _target(target)
    pool = NodePool(confirm_host)
    if profile is None:
        asked = (Question(target=wanted or target_of_machine(), with_devices=True),)
        if not wanted and asked[0].target == DeviceTarget.CPU.value:
            told(
                "no GPU or Ascend device is seen here; --target GPU (or Ascend) says what it lacks"
            )
        probes = [NodeProbe(HERE, asked[0], None)]
    else:
        clients = pool.clients_of(profile)
        probes = [
            NodeProbe(
                node,
                replace(question, target=wanted) if wanted else question,
                clients.get(node.label),
            )
            for node, question in zip(profile.nodes, questions(profile), strict=True)
        ]
    lock = threading.Lock()

    def look(probe: NodeProbe) -> tuple[Row, ...]:
        rows = _look(probe)
        if fix and any(row.fix == CUDA_FIX for row in rows):
            rows = _mend(probe, told)
        with lock:
            for row in rows:
                take(row)
        return rows

    try:
        with ThreadPoolExecutor(min(ssh.MAX_SETTING_UP, len(probes))) as threads:
            return tuple(row for rows in threads.map(look, probes) for row in rows)
    finally:
        pool.close()


def _target(name: str) -> str:
    if not name:
        return ""
    for target in DeviceTarget:
        if target.value.lower() == name.lower():
            return target.value
    known = ", ".join(target.value for target in DeviceTarget)
    raise UsageError(f"no target {name!r}", f"Known: {known}.")


def _look(probe: NodeProbe) -> tuple[Row, ...]:
    label = probe.node.label
    try:
        return doctor_rows(label, probe.call(CheckBackend(probe.question)))
    except NodeError as error:
        return (Row("node", label, RowState.FAILED, error.message, error.hint),)


def _mend(probe: NodeProbe, told: Callable[[str], object]) -> tuple[Row, ...]:
    """Installs, then checks again in the environment that the profile will have."""
    label = probe.node.label
    told(f"{label}: installing CUDA 11.8's libraries; this takes minutes")
    try:
        script = probe.call(PrepareCuda(), PREPARE_LIMIT_S)
    except NodeError as error:
        told(error.summary)
        return _look(probe)
    line = f"source {script}"
    told(f'{label}: prepared. Put it into the profile\'s node: setup = ["{line}"]')
    probe.question = replace(probe.question, setup=(*probe.question.setup, line))
    return _look(probe)
