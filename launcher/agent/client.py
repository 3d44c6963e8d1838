"""How a supervisor reaches a node. Local is here, SSH in `launcher.supervisor.ssh_transport`."""

from __future__ import annotations

import contextlib
import glob
import time
from pathlib import Path
from typing import Protocol

from launcher import programs
from launcher.agent import last_report
from launcher.agent.processes import waiting
from launcher.core import messages
from launcher.core.run.paths import RunPaths, endpoint_file, node_journal
from launcher.errors import NodeError
from launcher.ipc.channel import Channel
from launcher.ipc.endpoint import EndpointAddress, read_address
from launcher.process import ownership, private, spawn, termination
from launcher.process.log import log_line
from launcher.store.journal import read_lines

CONNECT_LIMIT_S = 15.0
TERM_S = 1.5
KILL_S = 5.0


class Transport(Protocol):
    """One node of one attempt, as its supervisor sees it. `node` is its label."""

    node: str
    is_remote: bool
    """Whether a network is between: a node may be away."""
    is_slow: bool
    """Whether `launch` may take long."""
    clock_ahead_s: float

    def launch(self) -> Channel:
        """Starts the node's agent and connects. Raises `NodeError`."""
        ...

    def give_up(self) -> None:
        """Nobody waits for `launch` any more: one that is slow need not go on."""
        ...

    def connect(self, may_launch: bool = False) -> Channel:
        """Connects to an agent that is already there; never blocks. Raises `NodeError`.

        ``may_launch``: starts it where there never was one, which may block on this machine.
        """
        ...

    def close(self) -> None:
        """Lets go of the node, when what was said last has arrived."""
        ...

    def is_agent_alive(self) -> bool:
        """Whether the agent's process or its guard is there, reachable or not."""
        ...

    def missed(self, after: int) -> list[tuple[int, dict[str, object]]]:
        """The agent's journal after message `after`, read without the agent."""
        ...

    def sweep(self) -> tuple[int, ...]:
        """Ends whatever of the attempt is still on the node, and an agent that does not answer.

        -> pids left. Raises `NodeError`.
        """
        ...


def agent_of(folder: Path) -> Channel | None:
    """The living agent of this machine, among those whose attempt's folder this is."""
    for endpoint in sorted(folder.glob("agents/*.json")):
        address = read_address(endpoint)
        if address is not None and address.is_alive:
            with contextlib.suppress(OSError):
                return address.connect()
    return None


class LocalTransport:
    """This machine: the agent is a process in its own session, its channel a Unix socket."""

    is_remote = False
    is_slow = False
    clock_ahead_s = 0.0

    def __init__(self, node: str, root: Path, attempt: int, token: str) -> None:
        self.node = node
        self._root = root
        self._attempt = attempt
        self._token = token
        self._paths = RunPaths(root).attempt(attempt)
        self._journal = node_journal(self._paths.root, node)
        self._endpoint = endpoint_file(self._journal)

    def launch(self) -> Channel:
        private.make_folder(self._journal.parent)
        log = self._journal.with_suffix(".log")
        try:
            pid = self._take_over(log) or spawn.detached(self._argv(), log, watches=self._token)
        except OSError as error:
            raise NodeError(self.node, f"the agent cannot be started: {error}") from error
        deadline = time.monotonic() + CONNECT_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(NodeError):
                return self.connect()
            if not ownership.is_alive(pid, None):
                raise NodeError(self.node, "the agent ended at once", f"Its log: {log}")
            time.sleep(0.01)
        raise NodeError(self.node, "the agent does not answer", f"Its log: {log}")

    def _take_over(self, log: Path) -> int:
        """Makes an agent that stayed after an earlier attempt this one's. -> its pid, 0: none."""
        environment = {**spawn.base_environment(), ownership.WATCHES: self._token}
        order = messages.TakeOver(tuple(self._argv()), environment, str(log))
        run = f"{self._token.rpartition('/')[0]}/"
        for _, address in waiting.agents_of(self._root, run, glob.escape(self._journal.stem)):
            if waiting.take_over(address, order):
                return address.pid
        return 0

    def give_up(self) -> None:
        """It is never slow."""

    def _argv(self) -> list[str]:
        """Of the agent."""
        argv = [*programs.command(programs.AGENT), "serve"]
        argv += ["--root", str(self._root), "--node", self.node]
        return [*argv, "--attempt", str(self._attempt)]

    def connect(self, may_launch: bool = False) -> Channel:
        if may_launch and not self.had_agent():
            return self.launch()
        address = self.address()
        if address is None:
            raise NodeError(self.node, "no agent says where it is")
        try:
            return address.connect()
        except OSError as error:
            raise NodeError(self.node, f"no agent answers: {error}") from error

    def close(self) -> None:
        """There is nothing to let go of."""

    def is_agent_alive(self) -> bool:
        address = self.address()
        if address is not None and address.is_alive:
            return True
        return bool(ownership.owned(ownership.Claim(self._token, of_watchers=True)))

    def had_agent(self) -> bool:
        """Whether this attempt has an agent here, or had one that reported anything."""
        return self.is_agent_alive() or bool(read_lines(self._journal))

    def address(self) -> EndpointAddress | None:
        """That of the agent. The file of a copied run directory has that of another's agent."""
        address = read_address(self._endpoint)
        is_ours = address is not None and ownership.is_watcher(address.pid, self._token)
        return address if is_ours else None

    def missed(self, after: int) -> list[tuple[int, dict[str, object]]]:
        return [(n, message) for n, message in read_lines(self._journal) if n > after]

    def sweep(self) -> tuple[int, ...]:
        left = termination.end_all(ownership.Claim(self._token), TERM_S, KILL_S)
        # Neither an agent nor a guard that is stopped can follow a request.
        watchers = ownership.Claim(self._token, of_watchers=True)
        left += termination.end_all(watchers, 0.0, KILL_S)
        try:
            last_report.write(self._journal, self._paths, self._attempt, left)
        except OSError as error:
            log_line(f"{self.node}: its journal cannot be ended: {error}")
        return left
