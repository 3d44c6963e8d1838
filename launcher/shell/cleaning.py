"""Processes of ours that nobody watches any more: found by token, never by name."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from launcher.reading.folders import runs_directory
from launcher.shell import ownership
from launcher.shell.actions import is_supervised
from launcher.shell.ownership import Claim

TERM_S, KILL_S = 3.0, 5.0


@dataclass(frozen=True)
class Stray:
    """A process that carries a run's token while no agent or job runner is above it."""

    pid: int
    start_ticks: int
    token: str
    command: str


def find_stray() -> tuple[Stray, ...]:
    """Strays of this user. What a living agent, job runner or supervisor owns is none."""
    everyone = {process.pid: process for process in ownership.all_processes()}
    found = []
    for process in everyone.values():
        token = ownership.tokens_of(process.pid)
        if token is None or _is_watched(process, everyone):
            continue
        if is_supervised(runs_directory() / token.partition("/")[0]):
            continue
        found.append(Stray(process.pid, process.start_time, token, _command(process.pid)))
    return tuple(sorted(found, key=lambda stray: stray.pid))


def end_stray(strays: tuple[Stray, ...]) -> tuple[int, ...]:
    """SIGTERM, SIGKILL, and a last look. -> pids still there."""
    left: list[int] = []
    for token in sorted({stray.token for stray in strays}):
        left += ownership.end_all(Claim(token), TERM_S, KILL_S)
    return tuple(left)


def _is_watched(process: ownership.Process, everyone: dict[int, ownership.Process]) -> bool:
    """Whether one of its ancestors is an agent, a warden or a job runner of ours."""
    seen = process
    while (parent := everyone.get(seen.parent)) is not None and parent.pid != 1:
        if "launcher.shell." in _command(parent.pid):
            return True
        seen = parent
    return False


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return ""
