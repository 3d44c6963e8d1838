"""What `launcher.node` writes on its stdout: messages, each written whole."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

from launcher.ipc.channel import Message
from launcher.remote import frames


def reply(**fields: Any) -> None:
    """The one answer to a request."""
    say({"type": "reply", **fields})


def say(*messages: Message) -> None:
    for message in messages:
        write(frames.encode(message))


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


class Listener:
    """Who asked says something on stdin every second. When nothing comes for long, this ends.

    By the default action of SIGALRM: it ends even a process that is stuck in a write.
    """

    def __init__(self, quiet_limit_s: int, alive_s: float = 1.0) -> None:
        self._quiet_limit_s = quiet_limit_s
        self._alive_s = alive_s
        self._alive_at = 0.0
        signal.alarm(quiet_limit_s)

    def hears(self, wait_s: float = 0.0) -> bool:
        """Waits for a word; the time begins anew with each. -> False when stdin was closed."""
        if select.select([0], [], [], wait_s)[0]:
            if not os.read(0, 1 << 12):
                return False
            signal.alarm(self._quiet_limit_s)
        return True

    def tell_alive(self, **fields: Any) -> None:
        """A word for the other side, which waits for one too; once a second."""
        if time.monotonic() >= self._alive_at:
            self._alive_at = time.monotonic() + self._alive_s
            say({"type": "alive", **fields})
