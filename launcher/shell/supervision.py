"""Who owns a run on this machine: a lock, held as long as its process lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from launcher.errors import BusyError

LOCK_S = 0.3


def is_supervised(root: Path) -> bool:
    """Whether a living process holds the run's lock."""
    try:
        fd = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two clients who look at the same time do not see each other.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def own(root: Path) -> int:
    """The lock that makes this process the run's only supervisor. Raises `BusyError`."""
    fd = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < deadline:
                time.sleep(0.02)  # a client may just be looking
                continue
            os.close(fd)
            raise BusyError(f"another supervisor owns {root.name}") from None
        return fd
