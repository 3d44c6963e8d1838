"""The stacks of all threads on a signal, for who looks for a hang (docs/report-format.md)."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal

SIGNAL = signal.SIGRTMIN + 7
"""A real-time signal: schedulers of clusters send SIGUSR1 and SIGUSR2."""


def write_on_signal() -> None:
    """From now on `SIGNAL` appends the stacks to the file that the launcher named.

    The handler is in C and needs no interpreter: it works while the main thread is in native code.
    """
    path = os.environ.get("EFFNET_STACKS")
    if not path:
        return
    with contextlib.suppress(OSError):
        # faulthandler writes to the descriptor, and keeps the file open.
        file = open(path, "ab", buffering=0)  # noqa: SIM115
        faulthandler.register(SIGNAL, file, all_threads=True, chain=False)
