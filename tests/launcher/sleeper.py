"""Processes that sleep, and can be found by their environment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT_S = 90


@contextmanager
def sleeper(**variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """One with these variables, killed at the end."""
    with subprocess.Popen(
        ["sleep", "600"], env={**os.environ, **variables}, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + LIMIT_S
            # `Popen` returns in the middle of the exec: it has no environment yet.
            while not Path(f"/proc/{process.pid}/environ").read_bytes():
                assert time.monotonic() < deadline
            yield process
        finally:
            process.kill()
