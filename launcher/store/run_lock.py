"""The lock of a run on this machine, held by its supervisor or follower."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from launcher.errors import BusyError, LaunchError
from launcher.process import file_lock, ownership

LOCK_S = 0.3
CHECKED_S = 10.0
"""For clients that only check the lock: a busy machine may hold one of them up just then."""
END_LIMIT_S = 5.0


def is_supervised(root: Path) -> bool:
    """Whether a process holds the run's lock."""
    try:
        return file_lock.is_held(root / "supervisor.lock")
    except OSError:
        return False


def acquire(root: Path, limit_s: float = LOCK_S) -> int:
    """The lock that makes this process the run's only supervisor. Raises `BusyError`."""
    fd = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    while not file_lock.try_lock(fd):
        is_checked = file_lock.is_only_checked(fd)
        if time.monotonic() - began > (max(limit_s, CHECKED_S) if is_checked else limit_s):
            os.close(fd)
            if is_checked:
                why = f"a process that looks at {root.name} holds its lock, and does not go on"
                raise BusyError(why)
            raise BusyError(f"another supervisor owns {root.name}")
        time.sleep(0.02)
    return fd


def end_holder(root: Path) -> int:
    """Ends the process that holds the run's lock, with SIGKILL. -> its pid; 0: there is none.

    Whatever supervisor.json says, no other process is touched. Raises `LaunchError`.
    """
    try:
        holder = file_lock.holder(root / "supervisor.lock")
    except OSError:
        holder = None
    if holder is not None:
        ownership.send_signal(holder, signal.SIGKILL)
    deadline = time.monotonic() + END_LIMIT_S
    while is_supervised(root):
        if holder is None:
            raise LaunchError(
                f"the process that holds {root / 'supervisor.lock'} is not visible here",
                "End it on its machine or as its user, then try again.",
            )
        if time.monotonic() > deadline:
            raise LaunchError(
                f"process {holder.pid} cannot be ended: it hangs on a disk or in the kernel",
                "Repair the disk or mount that it waits for, then try again.",
            )
        time.sleep(0.02)
    return 0 if holder is None else holder.pid
