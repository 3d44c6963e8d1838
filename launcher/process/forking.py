"""Ranks of a node that one process imports for and forks (`launcher.fork`), as their agent sees it.

The ranks become the agent's own children. What the parent refuses, or does not get done, is started
as it would be without a parent.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Sequence

from launcher import programs
from launcher.core.plan import forks
from launcher.core.plan.model import PlannedProcess, Role
from launcher.fork import MESSAGE_BYTES, ROOM
from launcher.process import spawn
from launcher.process.spawn import Exit, SpawnedProcess

IMPORTS = f"{programs.TRAINER}.imports"
"""What the trainer's ranks on a CPU import."""


class Forks:
    """A group of ranks from the start of their parent until all of them run.

    `log` is for the parent's output. Making one raises `OSError`.
    """

    def __init__(self, ranks: Sequence[PlannedProcess], token: str, log: str) -> None:
        self._left = {rank.rank: rank for rank in ranks}
        self.problem = ""
        """Why the ranks that are left will not be forked; empty while they may be."""
        first = ranks[0]
        parent = PlannedProcess(
            role=Role.FORK,
            node=first.node,
            argv=(
                *programs.command(programs.FORK, first.argv[0]),
                IMPORTS,
                _room(rank.argv for rank in ranks),
            ),
            environment={
                **forks.shared(first),
                ROOM: _room(map("=".join, _own(rank).items()) for rank in ranks),
            },
            log=log,
            working_directory=first.working_directory,
        )
        jobs = json.dumps([_job(rank) for rank in ranks]).encode()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._socket.setblocking(False)
            _send(self._socket, jobs)
            self.parent = spawn.start(parent, token, theirs.fileno())

    def take(self, ended: Exit | None = None) -> list[SpawnedProcess]:
        """The ranks that were forked since the last call. `ended`: how the parent has."""
        found = []
        while self._left and not self.problem:
            try:
                message = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # it has not read all before it ended; what it sent comes next
            if not message:
                break  # it has ended: its pidfd says so, too
            said = json.loads(message)
            self.problem = said.get("refused", "")
            if not self.problem:
                found.append(spawn.started(self._left.pop(said["rank"]), said["pid"]))
        if self._left and ended is not None and not self.problem:
            self.problem = f"their parent ended with {ended.words}"
        if not self._left:
            self._socket.close()  # the parent may go
        return found

    def give_up(self) -> list[PlannedProcess]:
        """The ranks that were not forked: they are the caller's now."""
        left, self._left = list(self._left.values()), {}
        self._socket.close()
        return left


def _job(rank: PlannedProcess) -> dict[str, object]:
    return {
        "rank": rank.rank,
        "cpus": rank.cpus,
        "environment": _own(rank),
        "arguments": spawn.arguments(rank),
    }


def _own(rank: PlannedProcess) -> dict[str, str]:
    return {key: value for key, value in rank.environment.items() if key in forks.OF_ONE_RANK}


def _room(texts: Iterable[Iterable[str]]) -> str:
    """As many spaces as the longest of these needs, each word with its end."""
    return " " * max(sum(len(os.fsencode(word)) + 1 for word in words) for words in texts)


def _send(channel: socket.socket, content: bytes) -> None:
    """As a file: a socket's buffer may be smaller, and the parent reads when it has started."""
    file = os.memfd_create("ranks")
    try:
        with open(file, "wb", closefd=False) as writer:
            writer.write(content)
        socket.send_fds(channel, [b"ranks"], [file])
    finally:
        os.close(file)
