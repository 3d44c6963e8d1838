"""The own log of a supervisor, an agent or a job runner."""

from __future__ import annotations

import contextlib
import time


def log_line(text: str) -> None:
    """One line with the time. Never raises: a full disk must not end a supervisor."""
    with contextlib.suppress(OSError, ValueError):
        print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)
