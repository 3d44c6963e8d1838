"""The doctor: MindSpore's back end on this machine, or on all nodes of a profile at once."""

from __future__ import annotations

import threading
from dataclasses import replace

from launcher.checks import slurm_doctor
from launcher.checks.probe import NodeProbe, OnLine, OnRow, at_once, probes_of
from launcher.core.checks.facts import Question
from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import CUDA_FIX
from launcher.core.checks.toolkit_rules import doctor_rows
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod
from launcher.errors import NodeError, UsageError
from launcher.ipc.operations import CheckBackend, PrepareCuda
from launcher.machine.toolkit import target_of_machine
from launcher.remote.host_keys import ConfirmHost
from launcher.remote.node_client import NodePool

PREPARE_LIMIT_S = 3600.0
THIS_MACHINE = Node(address="127.0.0.1", name="this-machine", slots=1)


def examine(
    profile: Profile | None,
    target: str,
    *,
    on_row: OnRow,
    confirm_host: ConfirmHost | None,
    fix: bool,
    on_fix: OnLine,
) -> tuple[Row, ...]:
    """-> every row, node by node, each in the order in which MindSpore's loader needs it.

    `on_row` gets a node's rows when all of them are known. Raises `UsageError`.
    """
    targets = {item.value.lower(): item.value for item in DeviceTarget}
    chosen = targets.get(target.lower(), "")
    if target and not chosen:
        raise UsageError(f"no target {target!r}", f"Known: {', '.join(targets.values())}.")
    if profile is not None and profile.start_method is StartMethod.SLURM:
        return slurm_doctor.examine(profile, on_row)
    lock = threading.Lock()

    def rows_of(probe: NodeProbe) -> tuple[Row, ...]:
        rows = _rows(probe)
        if fix and any(row.fix == CUDA_FIX for row in rows):
            _prepare_cuda(probe, on_fix)
            rows = _rows(probe)
        with lock:
            for row in rows:
                on_row(row)
        return rows

    with NodePool(confirm_host) as nodes:
        if profile is not None:
            probes = probes_of(profile, nodes)
        else:
            found = chosen or target_of_machine()
            if not chosen and found == DeviceTarget.CPU.value:
                on_fix(
                    "no GPU or Ascend device found; --target GPU (or Ascend) lists what it lacks"
                )
            probes = [NodeProbe(THIS_MACHINE, Question(target=found, with_devices=True), None)]
        for probe in probes:
            probe.question = replace(probe.question, target=chosen or probe.question.target)
        return tuple(row for rows in at_once(rows_of, probes) for row in rows)


def _rows(probe: NodeProbe) -> tuple[Row, ...]:
    label = probe.node.label
    try:
        return doctor_rows(label, probe.call(CheckBackend(probe.question)))
    except NodeError as error:
        return (Row("node", label, RowState.FAILED, error.message, error.hint),)


def _prepare_cuda(probe: NodeProbe, on_fix: OnLine) -> None:
    """Installs CUDA; the next rows are of the environment that the profile will have."""
    label = probe.node.label
    on_fix(f"{label}: installing CUDA 11.8's libraries; this takes minutes")
    try:
        line = f"source {probe.call(PrepareCuda(), PREPARE_LIMIT_S)}"
    except NodeError as error:
        on_fix(error.summary)
        return
    on_fix(f'{label}: installed. Add to this node in the profile: setup = ["{line}"]')
    probe.question = replace(probe.question, setup=(*probe.question.setup, line))
