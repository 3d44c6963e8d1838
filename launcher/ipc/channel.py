"""JSON lines over a stream: what supervisor and agents, and clients and supervisors, speak.

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

Message = dict[str, Any]
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
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

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Message) -> None:
        """Sends, or queues for `flush`. Raises `ChannelClosedError`."""
        if self.closed:
            raise ChannelClosedError("the connection is closed")
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Sends what waits, as far as it goes. Raises `ChannelClosedError`.

        A side that does not read (stopped, hung) is given up when too much waits for it: it can
        come back and ask for what it missed, and nobody else shall wait for it.
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
            self.close()
            raise ChannelClosedError(str(error)) from error

    def receive(self) -> list[Message]:
        """All whole messages that have arrived. Sets `closed` at the end of the stream."""
        while not self.closed:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.close()
                break
            self._buffer += data
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                self.close()
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages

    def wait(self, timeout_s: float) -> list[Message]:
        """Blocks until a message is there. Raises `ChannelClosedError`, `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.flush()
            messages = [] if self.closed else self.receive()
            if messages:
                return messages
            if self.closed:
                raise ChannelClosedError("the other side closed the connection")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {timeout_s:g} s")
            select.select([self._sock], [self._sock] if self._unsent else [], [], left)

    def close(self) -> None:
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
