"""A node that SSH reaches, as a supervisor's transport.

A connection is one SSH channel: to `launcher.node` on the node, which passes on what its
agent says and sends the files of its ranks. Here one thread reads those of all nodes
(`launcher.remote.node_loop`); the agent's messages go to the supervisor through a socket pair, so
that the supervisor waits for all nodes in one place and never for the network.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from launcher.core.messages import Pong
from launcher.core.plan.model import Plan
from launcher.core.run.paths import node_journal
from launcher.errors import NoAgentError, NodeError
from launcher.ipc import operations as op
from launcher.ipc.channel import Channel
from launcher.remote.frames import Frame
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.node_loop import PING_S, SILENT_S, NodeLoop, Wire
from launcher.remote.sync import FileCopy, names_of
from launcher.store.journal import read_lines
from launcher.supervisor.connecting import Connecting

PATIENCE_S = 20.0
"""The same for the reply of a node that was silent before: it may be busy. A stop waits for it."""
LAUNCH_S = 60.0
CLOSE_S = 5.0


class SshTransport:
    """One node of one attempt. `plan` is its part; `here` the attempt's folder on this machine.

    `loop` reads and writes its connection.
    """

    is_remote = True
    is_slow = True

    def __init__(
        self, client: NodeClient, plan: Plan, here: Path, token: str, loop: NodeLoop
    ) -> None:
        self.node = plan.node.name
        self.clock_ahead_s = 0.0
        """How much the node's clock is ahead of ours."""
        self._client = client
        self._plan = plan
        self._here = here
        self._there = op.AttemptFolder(plan.run_directory, self.node, plan.attempt, token)
        self._copy = FileCopy(self.node, here, names_of(plan))
        self._loop = loop
        self._wire: Wire | None = None
        self._connecting = Connecting(self.node)
        self._patience_s = SILENT_S
        self._agent_alive = True

    def launch(self) -> Channel:
        """Writes the node's files, starts its agent, connects. Blocks; raises `NodeError`.

        An agent that this attempt has there already is not started again.
        """
        files = tuple((file.path, file.content, file.mode) for file in self._plan.files)
        return self._open(lambda copy: op.Launch(self._there, copy, files), LAUNCH_S)

    def give_up(self) -> None:
        """What was sent to the node may have begun: it goes on."""

    def connect(self, may_launch: bool = False) -> Channel:
        """Never blocks: the first call begins, a later one has the result. Raises `NodeError`."""
        return self._connecting.poll(lambda: self._try_connect(may_launch))

    def is_agent_alive(self) -> bool:
        """True while nobody knows: only the node itself can say that it is dead."""
        return self._agent_alive

    def missed(self, after: int) -> list[tuple[int, dict[str, object]]]:
        """From the copy of the journal, which is complete when the node says: no agent."""
        journal = node_journal(self._here, self.node)
        return [(n, message) for n, message in read_lines(journal) if n > after]

    def sweep(self) -> tuple[int, ...]:
        self._connecting.give_up()
        self._end_wire()
        with self._copy.request() as copy:
            return self._client.call(op.Sweep(self._there, copy), self._copy.write_chunk)

    def close(self) -> None:
        """After the last word: lets it arrive, then ends the connection."""
        if self._wire is not None:
            self._wire.wait(CLOSE_S)
            self._loop.end(self._wire)
            self._wire.wait(CLOSE_S)
        self._client.close()

    def _try_connect(self, may_launch: bool) -> Channel:
        try:
            if may_launch:
                return self.launch()
            return self._open(lambda copy: op.Connect(self._there, copy), self._patience_s)
        except NodeError:
            self._client.close()
            raise

    def _open(
        self, operation: Callable[[op.CopyRequest], op.Launch | op.Connect], silent_s: float
    ) -> Channel:
        self._end_wire()
        with self._copy.request() as copy:
            call = self._client.start(operation(copy), silent_s)
            try:
                call.reply(self._copy.write_chunk)
            except NodeError as error:
                call.stream.close()
                if isinstance(error, RefusedError):
                    self._agent_alive = error.refusal.kind != NoAgentError.__name__
                if call.stream.is_silent:
                    # A busy node may need longer only to start Python: with a fixed limit each try
                    # would begin from the start, and none would come to its end.
                    self._patience_s = min(2 * self._patience_s, PATIENCE_S)
                raise
        self._agent_alive = True
        self._patience_s = SILENT_S
        ours, theirs = socket.socketpair()
        self._wire = Wire(call.stream, call.frames, theirs, self._handle, self._ended)
        self._loop.add(self._wire)
        return Channel(ours)

    def _end_wire(self) -> None:
        if self._wire is not None:
            self._loop.end(self._wire)
            self._wire.wait()  # two must never write the same files

    def _ended(self, is_broken: bool) -> None:
        """The wire's last word. A broken connection is not used again."""
        if is_broken:
            self._client.close()

    def _handle(self, frame: Frame) -> bool:
        """Whether it was a file: the supervisor gets everything else. Raises `NodeError`."""
        is_file = frame.message.get("type") == "file"
        if is_file:
            self._copy.write_chunk(frame.message)
        elif frame.message.get("kind") == Pong.kind:
            self._compare_clocks(frame.message.get("t"))
        return is_file

    def _compare_clocks(self, there_s: object) -> None:
        now_s = time.time()
        if not isinstance(there_s, (int, float)) or not -1e12 < there_s < 1e12:
            raise NodeError(self.node, "it sent a damaged pong")
        pinged_s = 0.0 if self._wire is None else self._wire.pinged_s
        if now_s - pinged_s < PING_S:
            self.clock_ahead_s = there_s - (now_s + pinged_s) / 2
