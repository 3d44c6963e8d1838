"""Whether somebody owns a run, here."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


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
