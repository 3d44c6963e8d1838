"""Ends the dashboard when its terminal is gone, also where SIGHUP is ignored.

Textual's input loop would read the end of file again and again and use a full core.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 1.0
GRACE_S: Final = 2.0
EXIT_CODE: Final = 129  # what a shell reports for SIGHUP


def terminal_gone(fd: int) -> bool:
    """Whether the terminal behind ``fd`` has hung up, or the server of the page has ended."""
    poller = select.poll()
    poller.register(fd, 0)
    try:
        ready = poller.poll(0)
    except OSError:
        return True
    return any(mask & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, mask in ready)


class Watchdog(threading.Thread):
    """Checks once a second; a daemon thread, so that it does not keep the process alive."""

    def __init__(self, fd: int, at_vanished: Callable[[], None] | None = None) -> None:
        super().__init__(name="effnet-tui-watchdog", daemon=True)
        self._fd = fd
        self._at_vanished = at_vanished
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        """The thread's body. Nothing that a clean exit would do can reach a dead terminal, and
        runs belong to their supervisors, so the process just ends."""
        while not self._ended.wait(PERIOD_S):
            if terminal_gone(self._fd):
                self._ended.wait(GRACE_S)
                if self._at_vanished is not None:
                    self._at_vanished()
                os._exit(EXIT_CODE)
