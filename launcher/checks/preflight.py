"""A preflight: all nodes at once, each row told as soon as it is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from launcher.checks import install
from launcher.checks.probe import NodeProbe
from launcher.core.checks.device_rules import device_rows
from launcher.core.checks.facts import MachineFacts, Peer
from launcher.core.checks.joint_rules import joint_rows, peer_row
from launcher.core.checks.machine_rules import machine_rows
from launcher.core.checks.questions import questions
from launcher.core.checks.row import NOT_ASKED, Row, RowState, checks_of, sorted_rows
from launcher.core.checks.toolkit_facts import Backend
from launcher.core.checks.toolkit_rules import toolkit_rows
from launcher.core.profile.model import Node, Profile
from launcher.core.text.numbers import whole_number
from launcher.errors import HostKeyError, LoginError, NodeError, NotInstalledError
from launcher.ipc import operations as op
from launcher.machine.facts import package_version
from launcher.machine.peers import KNOWN_HOSTS
from launcher.planning.attempt import data_path_of
from launcher.reading.folders import runs_directory
from launcher.remote import host_keys, ssh
from launcher.remote.mpirun_ssh import host_block, key_line
from launcher.remote.node_client import NodePool

T = TypeVar("T")
OnRow = Callable[[Row], object]


class Preflight:
    """Asks the nodes of one profile. `on_row` gets every row once, from any thread, in turn."""

    def __init__(
        self,
        profile: Profile,
        nodes: NodePool,
        *,
        data_path: str = "",
        settings: Sequence[tuple[str, str]] = (),
        on_row: OnRow = lambda row: None,
    ) -> None:
        self._profile = profile = with_settings(profile, settings)
        self._on_row = on_row
        self._rows: dict[tuple[str, str], Row] = {}
        self._lock = threading.Lock()
        self._machines: dict[str, MachineFacts] = {}
        self._backends: dict[str, Backend] = {}
        self._ahead_s: dict[str, float] = {}
        self._left = 0
        self._clients = nodes.clients_of(profile)
        asked = questions(profile, str(runs_directory()), data_path_of(profile, data_path))
        self._probes = [
            NodeProbe(node, question, self._clients.get(node.label))
            for node, question in zip(profile.nodes, asked, strict=True)
        ]

    def run(self) -> tuple[Row, ...]:
        """-> every row, as a person reads them. Only what is wrong with our own code raises."""
        self._rows.clear()
        self._machines.clear()
        self._backends.clear()
        count = self._left = len(self._probes)
        with ThreadPoolExecutor(min(ssh.MAX_SETTING_UP, count)) as pool:
            list(pool.map(self._node, range(count)))
        for row in toolkit_rows(self._profile.name, self._in_order(self._backends)):
            self._tell(row)
        self._peers(self._probes[0])
        for index in range(count):
            self._skip_rest(index)
        return sorted_rows(self._profile, self._rows.values())

    def _in_order(self, found: Mapping[str, T]) -> dict[str, T]:
        """By node, in the profile's order."""
        labels = (node.label for node in self._profile.nodes)
        return {label: found[label] for label in labels if label in found}

    def run_with_fixes(self, on_fix: Callable[[str], object]) -> tuple[Row, ...]:
        """The same after fixing what is safe to fix; `on_fix` gets a line for each fix."""
        rows = self.run()
        if not any(row.fix for row in rows):
            return rows
        for line in self._fixed(rows):
            on_fix(line)
        return self.run()

    def _fixed(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Does what the rows' `fix` says. -> what was done or could not be, a line each."""
        wanted = {(row.node, row.fix) for row in rows if row.fix}
        said = []
        for probe in self._probes:
            for node, fix in sorted(wanted):
                if node != probe.node.label:
                    continue
                try:
                    said.append(f"{node}: {self._mend(probe, fix)}")
                except NodeError as error:
                    said.append(f"{error.summary}. {error.hint}".rstrip())
        return tuple(said)

    def _mend(self, probe: NodeProbe, fix: str) -> str:
        kind, _, rest = fix.partition(" ")
        if kind == "folder":
            return f"made {probe.call(op.MakeFolder(rest))}"
        return install.install_wheel(probe.node, probe.client)

    def _tell(self, row: Row) -> None:
        with self._lock:
            if (row.check, row.node) not in self._rows:
                self._rows[row.check, row.node] = row
                self._on_row(row)

    def _node(self, index: int) -> None:
        """All of one node, in a thread of its own."""
        probe = self._probes[index]
        try:
            reached = self._connect(probe) and self._machine(index, probe)
        finally:
            self._one_less()
        if reached and probe.question.with_devices:
            self._devices(index, probe)
            self._toolkit(probe)

    def _connect(self, probe: NodeProbe) -> bool:
        if probe.client is None:
            return True
        label = probe.node.label
        try:
            connection = probe.client.connection()
            kind, key = connection.host_key()
        except NodeError as error:
            for row in login_rows(probe.node, error):
                self._tell(row)
            return False
        self._tell(Row("reachable", label, RowState.OK, connection.target.words))
        self._tell(Row("host-key", label, RowState.OK, f"{kind} {host_keys.print_of(key)}"))
        return True

    def _machine(self, index: int, probe: NodeProbe) -> bool:
        before_s = time.time()
        try:
            machine = probe.call(op.CheckMachine(probe.question))
        except NodeError as error:
            self._tell(unanswered_row(probe.node, error))
            return False
        after_s = time.time()
        with self._lock:
            self._machines[probe.node.label] = machine
            # Between the two its clock may have stood anywhere: only what is outside is off.
            self._ahead_s[probe.node.label] = max(machine.time_s - after_s, 0.0) + min(
                machine.time_s - before_s, 0.0
            )
        for row in machine_rows(self._profile, index, probe.question, machine):
            self._tell(row)
        return True

    def _one_less(self) -> None:
        """The last node to answer lets all be compared."""
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
            machines, ahead_s = dict(self._machines), dict(self._ahead_s)
        if is_last:
            for row in joint_rows(self._profile, package_version("effnet-tui"), machines, ahead_s):
                self._tell(row)

    def _devices(self, index: int, probe: NodeProbe) -> None:
        try:
            found = probe.call(op.CheckDevices(probe.question))
        except NodeError as error:
            self._tell(Row("devices", probe.node.label, RowState.FAILED, error.message, error.hint))
            return
        for row in device_rows(self._profile, index, found):
            self._tell(row)

    def _toolkit(self, probe: NodeProbe) -> None:
        label = probe.node.label
        try:
            backend = probe.call(op.CheckBackend(probe.question))
        except NodeError as error:
            self._tell(Row("toolkit", label, RowState.FAILED, error.message, error.hint))
            return
        with self._lock:
            self._backends[label] = backend

    def _peers(self, probe: NodeProbe) -> None:
        """mpirun's own ssh, with the host keys that were verified from here."""
        first, *rest = self._profile.nodes
        if "mpi-ssh" not in checks_of(self._profile, 0) or first.label not in self._machines:
            return
        others = [node for node in rest if node.label in self._clients]
        # A node that cannot be reached from here has its red row already.
        known = [node for node in others if node.label in self._machines]
        peers = [Peer(n.label, "not reached from here") for n in others if n not in known]
        keys = "".join(key_line(node, self._clients[node.label]) for node in known)
        config = "\n".join(host_block(node, KNOWN_HOSTS) for node in known)
        try:
            wanted = tuple((node.label, node.address) for node in known)
            answers = probe.call(op.CheckPeers(probe.question, config, keys, wanted))
            peers += answers
        except NodeError as error:
            self._tell(Row("mpi-ssh", probe.node.label, RowState.FAILED, error.message, error.hint))
            return
        self._tell(peer_row(self._profile, peers))

    def _skip_rest(self, index: int) -> None:
        """What could not be asked is said so."""
        label = self._profile.nodes[index].label
        for check in checks_of(self._profile, index):
            self._tell(Row(check, label, RowState.SKIPPED, NOT_ASKED))


def with_settings(profile: Profile, settings: Sequence[tuple[str, str]]) -> Profile:
    """The profile as a start with these settings has it, as far as a preflight looks at it."""
    classes = whole_number(dict(settings).get("class_num", ""))
    if classes is None:
        return profile
    trainer = {**profile.trainer, "class_num": classes}
    return profile.model_copy(update={"trainer": trainer})


def login_rows(node: Node, error: NodeError) -> tuple[Row, ...]:
    """What a connection that could not be made says."""
    text, hint, label = error.message, error.hint, node.label
    answers = Row("reachable", label, RowState.OK, "its sshd answers")
    if isinstance(error, HostKeyError):
        return answers, Row("host-key", label, RowState.FAILED, text, hint)
    if isinstance(error, LoginError):
        known = Row("host-key", label, RowState.OK, "known")
        return answers, known, Row("user", label, RowState.FAILED, text, hint)
    return (Row("reachable", label, RowState.FAILED, text, hint),)


def unanswered_row(node: Node, error: NodeError) -> Row:
    """What a node that can be reached and does not answer lacks."""
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
    return Row(
        "effnet-tui",
        node.label,
        RowState.FAILED,
        f"effnet-tui is there without what it needs: {text}",
        f"In its checkout there: {python} -m pip install -e '.[train]'",
    )
