"""Whether the processes of a run are still there."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.profile.address import is_loopback
from launcher.core.run.nodes import KeptState
from launcher.core.run.state import RunState, RunStatus, Silence
from launcher.core.text.codec import from_plain
from launcher.process import ownership
from launcher.reading.growing import read_range
from launcher.reading.living.answers import SILENT_S, Answers
from launcher.reading.living.queue import InQueue, shared_queue

START_TIME_SLACK_S = 2.0
"""The kernel's ticks are rounded, and the clock may have been adjusted."""

LIMIT_BYTES = 64 * 1024

NOT_COPIED = "nothing updates this copy of the run"


def is_process(pid: int, start_time_s: float | None) -> bool:
    """Whether the process that started then (``None``: any) is there."""
    process = ownership.read_process(pid)
    if process is None or not process.is_alive:
        return False
    return start_time_s is None or abs(process.start_time_s - start_time_s) <= START_TIME_SLACK_S


def supervisor_of(file: Path) -> tuple[int, str] | None:
    """Process id and socket of the supervisor that ``supervisor.json`` names, if it is there."""
    try:
        data = json.loads(read_range(file, 0, LIMIT_BYTES))
        pid, start, path = data["pid"], data.get("start_time"), str(data.get("socket", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known_start = float(start) if isinstance(start, (int, float)) else None
    is_there = isinstance(pid, int) and pid > 0 and is_process(pid, known_start)
    return (pid, path) if is_there and _is_mine(path) else None


def silence_of(file: Path, answers: Answers) -> tuple[bool, Silence | None]:
    """Whether the supervisor that ``supervisor.json`` names is there, and whether it answers."""
    found = supervisor_of(file)
    if found is None:
        return False, None
    silent_s = answers.poll(found[1])
    return True, Silence(found[0], time.time() - silent_s) if silent_s >= SILENT_S else None


def _is_mine(path: str) -> bool:
    """False for a socket of another user, who gets no message. One that is gone has no owner."""
    try:
        return os.stat(path).st_uid == os.geteuid()
    except (OSError, ValueError):
        return True


@dataclass(frozen=True)
class Link:
    """Whether the node that a run is on can be reached; `trouble` is empty when it can.

    `time_s`: when that began, Unix seconds. `silence`: the supervisor there does not answer.
    `queue`: what the node knows of the run's job.
    """

    node: str
    time_s: float
    trouble: str
    silence: Silence | None = None
    queue: InQueue | None = None


def link_of(file: Path) -> Link:
    """From ``link.json``; a damaged one is as if the node was not reached yet."""
    try:
        return from_plain(Link, json.loads(read_range(file, 0, LIMIT_BYTES)))
    except (ValueError, RecursionError):
        return Link("its first node", 0.0, "not reached yet")


def in_queue(state: RunState, link: Link | None) -> InQueue:
    """What Slurm says of a run with a job: asked here, or for a copy on the node of the run."""
    if link is None:
        return shared_queue().look(state)
    return (link.queue or InQueue(state.shown)).for_copy(state)


def still_kept(state: RunState, now_s: float, *, is_copy: bool) -> KeptState | None:
    """What a failed run keeps for its next attempt now; on other machines, as far as is known.

    ``is_copy``: the run is on another machine.
    """
    kept = state.kept
    if kept is None or state.status is not RunStatus.FAILED or now_s >= kept.until_s:
        return None
    there = tuple(
        process
        for process in kept.processes
        if is_copy or not process.is_here or is_process(process.pid, process.start_time)
    )
    return replace(kept, processes=there) if there else None


def has_ranks(state: RunState) -> bool:
    """Whether a rank of the newest attempt is there, of those on this machine."""
    attempt = state.attempt
    if attempt is None:
        return False
    here = {socket.gethostname(), "localhost"}
    return any(
        not rank.has_exited
        and (rank.node in here or is_loopback(rank.node))
        and is_process(rank.pid, rank.start_time)
        for rank in attempt.ranks
    )
