"""Whether the processes that a run wrote down are still there."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from launcher.core.profile.model import is_loopback
from launcher.core.run.state import RunState
from launcher.reading.growing import read_range

START_TIME_SLACK_S = 2.0
"""The kernel's ticks and the clock differ by some rounding, and by a leap of the clock."""

LIMIT_BYTES = 64 * 1024


def is_process(pid: int, start_time_s: float | None) -> bool:
    """Whether a process is there, and is the one that started then (``None``: any)."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        created_s = process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return False
    return start_time_s is None or abs(created_s - start_time_s) <= START_TIME_SLACK_S


def is_supervised(supervisor: Path) -> bool:
    """Whether the supervisor that ``supervisor.json`` names is there."""
    try:
        data = json.loads(read_range(supervisor, 0, LIMIT_BYTES))
    except (ValueError, RecursionError):
        return False
    pid = data.get("pid") if isinstance(data, dict) else None
    start = data.get("start_time") if isinstance(data, dict) else None
    known_start = float(start) if isinstance(start, (int, float)) else None
    return isinstance(pid, int) and pid > 0 and is_process(pid, known_start)


@dataclass(frozen=True)
class Link:
    """Whether the node that a run lives on can be reached; `trouble` is empty when it can.

    `time_s`: Unix seconds, since when.
    """

    node: str
    time_s: float
    trouble: str


def link_of(file: Path) -> Link:
    """What ``link.json`` says; a damaged one says that nothing is known."""
    try:
        data = json.loads(read_range(file, 0, LIMIT_BYTES))
        return Link(str(data["node"]), float(data["time"]), str(data["trouble"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Link("its first node", 0.0, "it was not asked yet")


def has_ranks(state: RunState) -> bool:
    """Whether a rank of the newest attempt is there, of those that run on this machine."""
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
