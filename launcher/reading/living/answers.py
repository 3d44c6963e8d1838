"""Whether the supervisor of a run answers: one ping a second on its socket, without waiting."""

from __future__ import annotations

import json
import socket
import time
import weakref

from launcher.core.messages import Ping
from launcher.core.text.records import encode

SILENT_S = 5.0
"""A supervisor that owes an answer for this long does not answer."""
PING = json.dumps(encode(Ping())).encode() + b"\n"


class Answers:
    """The connection of one reader to a supervisor."""

    def __init__(self) -> None:
        self._path = ""
        self._close = weakref.finalize(self, lambda: None)
        self._sock: socket.socket | None = None
        self._asked: float | None = None
        """When the ping was sent that has no answer yet."""

    def poll(self, path: str) -> float:
        """Reads the answer to the last ping, and sends the next. -> how long one is overdue."""
        now = time.monotonic()
        if path != self._path:
            self.reset()
            self._path = path
        self._read(0.0)
        is_new = self._asked is None
        self._asked = now if self._asked is None else self._asked
        if is_new or self._sock is None:
            self._ping()
        return now - self._asked

    def wait(self) -> None:
        """Until the last ping of `poll` is answered, or an answer is overdue."""
        if self._asked is not None:
            self._read(max(0.0, self._asked + SILENT_S - time.monotonic()))

    def reset(self) -> None:
        self._drop()
        self._asked = None

    def _read(self, wait_s: float) -> None:
        if self._sock is None:
            return
        try:
            self._sock.settimeout(wait_s)
            data = self._sock.recv(1 << 16)
        except (BlockingIOError, TimeoutError):
            return
        except OSError:
            data = b""
        if data:
            self._asked = None
        else:
            self._drop()

    def _ping(self) -> None:
        try:
            if self._sock is None:
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                # A reader may be dropped at any time.
                self._close = weakref.finalize(self, self._sock.close)
                self._sock.setblocking(False)
                self._sock.connect(self._path)
            self._sock.send(PING)
        except OSError:
            self._drop()

    def _drop(self) -> None:
        self._close()
        self._sock = None
