"""Locks on files. The kernel releases them when their holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from launcher.process import ownership
from launcher.process.ownership import Process


def try_lock(fd: int) -> bool:
    """Whether this process holds the file's lock now; never waits."""
    return _try(fd, fcntl.LOCK_EX)


def is_only_checked(fd: int) -> bool:
    """Whether no process holds the lock that `try_lock` did not get: `is_held` has it for a moment,
    or longer where its process is held up.
    """
    is_free_to_read = _try(fd, fcntl.LOCK_SH)
    if is_free_to_read:
        fcntl.flock(fd, fcntl.LOCK_UN)
    return is_free_to_read


def is_held(path: Path) -> bool:
    """Whether a process holds the file's lock. Raises `OSError`, also when there is no file."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # Shared: two processes that check at the same time do not see each other.
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def holder(path: Path) -> Process | None:
    """The process that holds the file's lock; None when this user cannot see it."""
    known = os.stat(path)
    for process in ownership.all_processes():
        folder = f"/proc/{process.pid}"
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"{folder}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(known, os.stat(f"{folder}/fd/{fd}")):
                        info = Path(f"{folder}/fdinfo/{fd}").read_text()
                        # A client that only checks the lock has it for reading.
                        if "FLOCK  ADVISORY  WRITE" in info:
                            return process
    return None


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
