"""Messages over a stream, one JSON object a line: supervisor and agents, clients and supervisor.

The stream is a Unix socket here, and an SSH channel that is relayed into one on other machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from typing import Any

from launcher.core import messages
from launcher.core.messages import Error, decode_message
from launcher.core.run.events import Event
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    Record,
    UnknownKindError,
    encode,
    parse_object,
)

AnyMessage = messages.Message | Event
BLOCK_BYTES = 1 << 16
MAX_BLOCKS = 64
"""Read at one time: another connection must not wait for one that floods."""
MAX_UNSENT_BYTES = 64 * 1024 * 1024


class ChannelClosedError(ConnectionError):
    """The other side is gone, or it speaks something else."""


class Channel:
    """One connection. Neither reading nor writing blocks; what could not be sent yet waits."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._buffer = bytearray()
        self._unsent = bytearray()
        self.closed = False
        self._is_write_closed = False
        self.problem = ""
        """Why this side closed it."""
        self.bad_number = 0
        """Number of the report that was damaged, where that could be read."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Record) -> None:
        """Sends, or queues for `flush`. Raises `ChannelClosedError`."""
        if self.closed or self._is_write_closed:
            raise ChannelClosedError("the connection is closed")
        line = json.dumps(encode(message), separators=(",", ":")).encode() + b"\n"
        if len(line) > MAX_FRAME_BYTES:
            self.close(f"{message.kind}: longer than {MAX_FRAME_BYTES} bytes")
            raise ChannelClosedError(self.problem)
        self._unsent += line
        self.flush()

    def flush(self) -> None:
        """Sends what waits, as far as it goes. Raises `ChannelClosedError`.

        A peer that does not read (stopped, hung) is disconnected when too much waits for it. It can
        reconnect and request what it missed; nobody else has to wait for it. A peer that has closed
        its end may have sent messages first: `receive` still returns those.
        """
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            if len(self._unsent) <= MAX_UNSENT_BYTES:
                return
            self.close()
            raise ChannelClosedError("the other side does not read") from None
        except OSError as error:
            self._is_write_closed = True
            self._unsent.clear()
            raise ChannelClosedError(str(error)) from error

    def receive(self) -> list[AnyMessage]:
        """All whole messages that have arrived.

        Sets `closed` at the end of the stream, and where a message is damaged or too long; then
        `problem` says why. A message of an unknown kind is answered with an error.
        """
        lines: list[bytearray] = []
        begin = len(self._buffer)
        for _ in range(MAX_BLOCKS):
            try:
                data = b"" if self.closed else self._sock.recv(BLOCK_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.close()
                break
            self._buffer += data
        if self._buffer.find(b"\n", begin) >= 0:
            *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > MAX_FRAME_BYTES:
            self.close(f"a message is longer than {MAX_FRAME_BYTES} bytes")
        found: list[AnyMessage] = []
        for line in lines:
            message = self._decoded(bytes(line))
            if message is not None:
                found.append(message)
            elif self.problem:
                break
        return found

    def _decoded(self, line: bytes) -> AnyMessage | None:
        number: Any = 0
        try:
            data = parse_object(line)
            number = data.get("n")
            return decode_message(data)
        except UnknownKindError as error:
            with contextlib.suppress(ChannelClosedError):
                self.send(Error(str(error)))
        except Mismatch as error:
            self.bad_number = number if type(number) is int else 0
            self.close(f"damaged message: {error}")
        return None

    def wait(self, timeout_s: float) -> list[AnyMessage]:
        """Blocks until a message is there. Raises `ChannelClosedError`, `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(ChannelClosedError):
                self.flush()
            found = [] if self.closed else self.receive()
            if found:
                return found
            if self.closed:
                raise ChannelClosedError(self.problem or "the other side closed the connection")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {timeout_s:g} s")
            select.select([self._sock], [self._sock] if self._unsent else [], [], left)

    def close(self, problem: str = "") -> None:
        self.problem = self.problem or problem
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.close()


def connect(path: str, timeout_s: float = 5.0) -> Channel:
    """Raises `OSError` when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Channel(sock)


def listen(path: str) -> socket.socket:
    """A listening socket that only this user may open; a stale one of the same path is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.listen(64)
    sock.setblocking(False)
    return sock
