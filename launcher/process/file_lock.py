"""Locks on files. The kernel releases them when their holder ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(fd: int) -> bool:
    """Whether this process holds the file's lock now; never waits."""
    return _try(fd, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Whether a process holds the file's lock. Raises `OSError`, also when there is no file."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # Shared: two processes that check at the same time do not see each other.
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
