"""The lock of a run on this machine, held by its supervisor or follower."""

from __future__ import annotations

import os
import time
from pathlib import Path

from launcher.errors import BusyError
from launcher.process import file_lock

LOCK_S = 0.3


def is_supervised(root: Path) -> bool:
    """Whether a process holds the run's lock."""
    try:
        return file_lock.is_held(root / "supervisor.lock")
    except OSError:
        return False


def acquire(root: Path) -> int:
    """The lock that makes this process the run's only supervisor. Raises `BusyError`."""
    fd = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_S
    while not file_lock.try_lock(fd):
        if time.monotonic() > deadline:
            os.close(fd)
            raise BusyError(f"another supervisor owns {root.name}")
        time.sleep(0.02)  # a client may be checking it now
    return fd
