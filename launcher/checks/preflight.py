"""The preflight: checks all nodes of a profile at once, and reports each row when it is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TypeVar

from launcher.checks import install, slurm
from launcher.checks.probe import NodeProbe, OnLine, OnRow, at_once, probes_of
from launcher.core.checks.device_rules import device_rows
from launcher.core.checks.expected import checks_of, expected, sorted_rows
from launcher.core.checks.facts import MachineFacts, Peer
from launcher.core.checks.joint_rules import joint_rows, peer_row
from launcher.core.checks.machine_rules import machine_rows
from launcher.core.checks.row import NOT_ASKED, Row, RowState, of_spare
from launcher.core.checks.toolkit_facts import Backend
from launcher.core.checks.toolkit_rules import toolkit_rows
from launcher.core.profile.model import Node, Profile, StartMethod
from launcher.core.profile.spares import with_spares_as_nodes
from launcher.core.text.numbers import whole_number
from launcher.errors import HostKeyError, LoginError, NodeError, NotInstalledError
from launcher.ipc import operations as op
from launcher.machine.facts import package_version
from launcher.machine.peers import KNOWN_HOSTS
from launcher.planning.attempt import data_path_of, settings_of
from launcher.reading.folders import runs_directory
from launcher.remote.mpirun_ssh import ssh_files
from launcher.remote.node_client import NodePool

R = TypeVar("R")


class Preflight:
    """Checks the nodes of one profile. `on_row` gets each row once, never two at a time."""

    def __init__(
        self,
        profile: Profile,
        nodes: NodePool,
        *,
        data_path: str = "",
        settings: Sequence[tuple[str, str]] = (),
        on_row: OnRow = lambda row: None,
    ) -> None:
        profile = with_settings(profile, settings_of(profile, tuple(settings)))
        self._spares = {node.label for node in profile.spares}
        self._profile = profile = with_spares_as_nodes(profile)
        self._on_row = on_row
        self._rows: dict[tuple[str, str], Row] = {}
        self._lock = threading.Lock()
        self._machines: dict[str, MachineFacts] = {}
        self._backends: dict[str, Backend] = {}
        self._ahead_s: dict[str, float] = {}
        self._unanswered = 0
        data_path = data_path_of(profile, data_path)
        self._probes = probes_of(profile, nodes, str(runs_directory()), data_path)
        self._index = {node.label: index for index, node in enumerate(profile.nodes)}

    def run(self) -> tuple[Row, ...]:
        """-> every row, in reading order."""
        if self._profile.start_method is StartMethod.SLURM:
            return slurm.preflight(self._profile, self._on_row)
        for known in (self._rows, self._machines, self._backends):
            known.clear()
        self._unanswered = len(self._probes)
        at_once(self._check_node, self._probes)
        in_order = {
            label: self._backends[label] for label in self._index if label in self._backends
        }
        self._add(*toolkit_rows(self._profile.name, in_order))
        self._check_peers()
        for check, label in expected(self._profile):
            self._add(Row(check, label, RowState.SKIPPED, NOT_ASKED))
        return sorted_rows(self._profile, self._rows.values())

    def run_with_fixes(self, on_fix: OnLine) -> tuple[Row, ...]:
        """The same after fixing what is safe to fix."""
        rows = self.run()
        if not any(row.fix for row in rows):
            return rows
        for probe in self._probes:
            label = probe.node.label
            for fix in sorted({row.fix for row in rows if row.fix and row.node == label}):
                on_fix(_fix(probe, fix))
        return self.run()

    def _add(self, *rows: Row) -> None:
        with self._lock:
            for row in rows:
                row = of_spare(row) if row.node in self._spares else row
                if (row.check, row.node) not in self._rows:
                    self._rows[row.check, row.node] = row
                    self._on_row(row)

    def _call(self, probe: NodeProbe, check: str, operation: op.Operation[R]) -> R | None:
        """The reply; None, and a failed row of `check`, where there is none."""
        try:
            return probe.call(operation)
        except NodeError as error:
            label = probe.node.label
            self._add(Row(check, label, RowState.FAILED, error.message, error.hint))
            return None

    def _check_node(self, probe: NodeProbe) -> None:
        label = probe.node.label
        try:
            is_reached = self._connect(probe) and self._check_machine(probe)
        finally:
            with self._lock:
                self._unanswered -= 1
                is_last = self._unanswered == 0
                machines, ahead_s = dict(self._machines), dict(self._ahead_s)
            if is_last:
                version = package_version("effnet-tui")
                self._add(*joint_rows(self._profile, version, machines, ahead_s))
        if not is_reached or not probe.question.with_devices:
            return
        devices = self._call(probe, "devices", op.CheckDevices(probe.question))
        if devices is not None:
            self._add(*device_rows(self._profile, self._index[label], devices))
        backend = self._call(probe, "toolkit", op.CheckBackend(probe.question))
        if backend is not None:
            with self._lock:
                self._backends[label] = backend

    def _connect(self, probe: NodeProbe) -> bool:
        if probe.client is None:
            return True
        label = probe.node.label
        try:
            connection = probe.client.connection()
            key = connection.host_key()
        except NodeError as error:
            self._add(*login_rows(probe.node, error))
            return False
        shown = "known to ssh" if key is None else key.words
        self._add(
            Row("reachable", label, RowState.OK, connection.words),
            Row("host-key", label, RowState.OK, shown),
        )
        return True

    def _check_machine(self, probe: NodeProbe) -> bool:
        label, before_s = probe.node.label, time.time()
        try:
            machine = probe.call(op.CheckMachine(probe.question))
        except NodeError as error:
            self._add(unanswered_row(probe.node, error))
            return False
        after_s = time.time()
        with self._lock:
            self._machines[label] = machine
            # The node read its clock at some time between these two.
            self._ahead_s[label] = max(machine.time_s - after_s, 0.0) + min(
                machine.time_s - before_s, 0.0
            )
        self._add(*machine_rows(self._profile, self._index[label], probe.question, machine))
        return True

    def _check_peers(self) -> None:
        """mpirun's own ssh, with the host keys that were verified from here."""
        probe, *others = self._probes
        if "mpi-ssh" not in checks_of(self._profile, 0) or probe.node.label not in self._machines:
            return
        # A node that cannot be reached from here has its failed row already.
        clients = [other.client for other in others if other.client is not None]
        known = [client for client in clients if client.label in self._machines]
        peers = [Peer(c.label, "not reached from here") for c in clients if c not in known]
        names = tuple((client.label, client.node.address) for client in known)
        request = op.CheckPeers(probe.question, *ssh_files(known, KNOWN_HOSTS), names)
        reply = self._call(probe, "mpi-ssh", request)
        if reply is not None:
            self._add(peer_row(self._profile, (*peers, *reply)))


def _fix(probe: NodeProbe, fix: str) -> str:
    """Does what a row's `fix` says. -> what was done, or could not be."""
    kind, _, path = fix.partition(" ")
    try:
        if kind == "folder":
            return f"{probe.node.label}: created {probe.call(op.MakeFolder(path))}"
        return f"{probe.node.label}: {install.install_wheel(probe.node, probe.client)}"
    except NodeError as error:
        return f"{error.summary}. {error.hint}".rstrip()


def with_settings(profile: Profile, settings: Sequence[tuple[str, str]]) -> Profile:
    """The profile with those settings that the preflight checks."""
    given = dict(settings)
    checked: dict[str, str | int] = {k: given[k] for k in ("variant", "weights") if k in given}
    if (classes := whole_number(given.get("class_num", ""))) is not None:
        checked["class_num"] = classes
    return profile.model_copy(update={"trainer": {**profile.trainer, **checked}})


def login_rows(node: Node, error: NodeError) -> tuple[Row, ...]:
    """How far a login came that failed."""
    text, hint, label = error.message, error.hint, node.label
    answers = Row("reachable", label, RowState.OK, "its sshd answers")
    if isinstance(error, HostKeyError):
        return answers, Row("host-key", label, RowState.FAILED, text, hint)
    if isinstance(error, LoginError):
        known = Row("host-key", label, RowState.OK, "known")
        return answers, known, Row("user", label, RowState.FAILED, text, hint)
    return (Row("reachable", label, RowState.FAILED, text, hint),)


def unanswered_row(node: Node, error: NodeError) -> Row:
    """Why a node that SSH reaches does not answer."""
    text = error.message
    if not isinstance(error, NotInstalledError):
        return Row("effnet-tui", node.label, RowState.FAILED, text, error.hint)
    if not error.module:
        hint = f"{error.hint.rstrip('.')} to an interpreter with effnet-tui."
        return Row("python", node.label, RowState.FAILED, text, hint)
    python = node.python or "python3"
    if error.module.partition(".")[0] == "launcher":
        hint = f"Use --fix, or in its checkout there: {python} -m pip install -e ."
        return Row("effnet-tui", node.label, RowState.FAILED, text, hint, "wheel")
    text = f"effnet-tui is there, but not its dependencies: {text}"
    hint = f"In its checkout there: {python} -m pip install -e '.[train]'"
    return Row("effnet-tui", node.label, RowState.FAILED, text, hint)
