"""Ranks of a node that one process imports for and forks (`launcher.fork`), as their agent sees it.

The ranks become the agent's own children. What the parent refuses, or does not get done, is started
as it would be without a parent.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import programs
from launcher.core.plan import forks
from launcher.core.plan.model import PlannedProcess, Role
from launcher.fork import MESSAGE_BYTES, ROOM
from launcher.process import private, spawn
from launcher.process.spawn import Exit, SpawnedProcess

IMPORTS = f"{programs.TRAINER}.imports"
"""What the trainer's ranks on a CPU import."""


ANSWER_S = 5.0
"""How long one that waited may need to answer before another one is started."""
ROOM_BYTES = 512
"""More than the words of this attempt need: those of the next one may be longer."""


@dataclass(frozen=True)
class Warm:
    """A parent that has forked the ranks of the attempt before: our child, and its socket."""

    pid: int
    channel: socket.socket

    def wait(self, seconds: float) -> None:
        """It ends by itself when nobody asks for ranks within this time."""
        with contextlib.suppress(OSError):
            self.channel.send(json.dumps({"wait_s": seconds}).encode())

    def kill(self) -> None:
        """It is our child, and not reaped: its pid is still its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Forks:
    """A group of ranks from the start of their parent until all of them run.

    `log` is for the parent's output. `warm`: one that may be this group's parent. `stays`: it waits
    for the ranks of another attempt. Making one raises `OSError`.
    """

    def __init__(
        self,
        ranks: Sequence[PlannedProcess],
        token: str,
        log: str,
        *,
        warm: Warm | None = None,
        stays: bool = False,
    ) -> None:
        self._left = {rank.rank: rank for rank in ranks}
        self._all = len(ranks)
        self._stays = stays
        self._answer_until = math.inf
        self.problem = ""
        """Why the ranks that are left will not be forked; empty while they may be."""
        self.is_warm = warm is not None
        """Whether the parent was there before."""
        first, more = ranks[0], ROOM_BYTES if stays else 0
        command = [*programs.command(programs.FORK, first.argv[0]), IMPORTS]
        parent = PlannedProcess(
            role=Role.FORK,
            node=first.node,
            argv=(*command, _room((rank.argv for rank in ranks), more)),
            environment={
                **forks.shared(first),
                ROOM: _room((map("=".join, _own(rank).items()) for rank in ranks), more),
            },
            log=log,
            working_directory=first.working_directory,
        )
        request = {
            "jobs": [_job(rank) for rank in ranks],
            "command": [os.path.expanduser(word) for word in command],
            "environment": spawn.environment_of(parent, token),
            "log": log,
        }
        content = json.dumps(request).encode()
        if warm is not None:
            self._socket = warm.channel
            private.make_folder(Path(log).parent)
            self.parent = spawn.started(parent, warm.pid)
            self._answer_until = time.monotonic() + ANSWER_S
            with contextlib.suppress(OSError):  # it has just ended: `take` says so
                _send(self._socket, content)
            return
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._socket.setblocking(False)
            _send(self._socket, content)
            self.parent = spawn.start(parent, token, theirs.fileno())

    @property
    def warm(self) -> Warm | None:
        """The parent that waits for another attempt, when all ranks of this one run."""
        is_kept = self._stays and not self._left and self._socket.fileno() >= 0
        return Warm(self.parent.pid, self._socket) if is_kept else None

    @property
    def has_forked_none(self) -> bool:
        return len(self._left) == self._all

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
            self._answer_until = math.inf
            self.problem = said.get("refused", "")
            if "rank" in said:
                found.append(spawn.started(self._left.pop(said["rank"]), said["pid"]))
        if self._left and not self.problem:
            if ended is not None:
                self.problem = f"their parent ended with {ended.words}"
            elif time.monotonic() > self._answer_until:
                # Its end says more: ranks that it may have forked just now were told of.
                Warm(self.parent.pid, self._socket).kill()
                self._answer_until = math.inf
        if not self._left and not self._stays:
            self._socket.close()  # the parent may go
        return found

    def give_up(self) -> list[PlannedProcess]:
        """The ranks that were not forked: they are the caller's now."""
        left, self._left = list(self._left.values()), {}
        self._socket.close()
        return left

    def let_go(self) -> None:
        """A parent that waits ends."""
        self._stays = False
        if not self._left:
            self._socket.close()


def _job(rank: PlannedProcess) -> dict[str, object]:
    return {
        "rank": rank.rank,
        "cpus": rank.cpus,
        "environment": _own(rank),
        "arguments": spawn.arguments(rank),
    }


def _own(rank: PlannedProcess) -> dict[str, str]:
    return {key: value for key, value in rank.environment.items() if key in forks.OF_ONE_RANK}


def _room(texts: Iterable[Iterable[str]], more: int) -> str:
    """As many spaces as the longest of these needs, each word with its end, and some more."""
    needed = max(sum(len(os.fsencode(word)) + 1 for word in words) for words in texts)
    return " " * (needed + more)


def _send(channel: socket.socket, content: bytes) -> None:
    """As a file: a socket's buffer may be smaller, and the parent reads when it has started."""
    file = private.unnamed_file("ranks")
    try:
        with open(file, "wb", closefd=False) as writer:
            writer.write(content)
        socket.send_fds(channel, [b"ranks"], [file])
    finally:
        os.close(file)
