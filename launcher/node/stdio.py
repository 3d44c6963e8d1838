"""Messages of `launcher.node` on its stdout, and messages of its client on stdin."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import Any

from launcher.core.text.codec import to_plain
from launcher.core.text.records import PROTOCOL_VERSION
from launcher.ipc.operations import Message, Refusal
from launcher.remote import frames


def reply(value: Any) -> None:
    send({"type": "reply", "ok": True, "value": to_plain(value)})


def refuse(refusal: Refusal) -> None:
    """`protocol` is for clients of other versions."""
    fields = to_plain(refusal)
    send({"type": "reply", "ok": False, **fields, "protocol": PROTOCOL_VERSION})


def send(*messages: Message) -> None:
    for message in messages:
        write(frames.encode(message))


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


QUIET_LIMIT_S = 30
ALIVE_S = 1.0


class Listener:
    """The client sends something every second. Without it this process ends, by SIGALRM.

    Its default action ends even a process that is stuck in a write.
    """

    def __init__(self) -> None:
        self._alive_at = 0.0
        signal.alarm(QUIET_LIMIT_S)

    def wait(self, wait_s: float = 0.0) -> None:
        """Until the client sends something, at most `wait_s`. Exits when stdin was closed."""
        if select.select([0], [], [], wait_s)[0]:
            if not os.read(0, 1 << 12):
                sys.exit()
            signal.alarm(QUIET_LIMIT_S)

    @property
    def is_alive_due(self) -> bool:
        """Whether `send_alive` will send."""
        return time.monotonic() >= self._alive_at

    def send_alive(self, **fields: Any) -> None:
        """Sends the client, which waits for it, a message once a second."""
        if self.is_alive_due:
            self._alive_at = time.monotonic() + ALIVE_S
            send({"type": "alive", **fields})
