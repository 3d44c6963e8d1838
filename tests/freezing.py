"""SIGSTOP, and its effect: a process may go on for a moment, and fork, after kill(2) returns."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from launcher.process.ownership import read_process

LIMIT_S = 120
STOPPED_OR_OVER = "TtZX"


def freeze(*pids: int) -> None:
    """Returns when they have stopped, or ended by themselves."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + LIMIT_S
    while not all(map(_is_still, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.001)


def _is_still(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.state in STOPPED_OR_OVER
