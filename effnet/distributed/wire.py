"""A connection to another rank: frames that wait to be sent, and the one that arrives."""

from __future__ import annotations

import itertools
import socket
import struct
from collections import deque
from typing import NamedTuple

from effnet.optim.pieces import Floats

_HEADER = struct.Struct("!III")
_AT_ONCE = 16
"""Buffers in one call of `sendmsg`."""


class Header(NamedTuple):
    """Of a frame: the number of the sum, the turn that is to come, and which numbers."""

    step: int
    turn: int
    chunk: int


class Wire:
    """`who` is at the other end of `link`. Nothing here waits; all methods raise `OSError`."""

    def __init__(self, link: socket.socket, who: str) -> None:
        link.setblocking(False)
        self._link = link
        self.who = who
        self._outgoing: deque[memoryview] = deque()
        self._head = bytearray(_HEADER.size)
        self._filled = 0

    def fileno(self) -> int:
        """For `poll`."""
        return self._link.fileno()

    @property
    def waiting(self) -> int:
        """Buffers that are still to be sent."""
        return len(self._outgoing)

    def put(self, header: Header, data: Floats) -> None:
        """To be sent; `data` must not change until then."""
        self._outgoing.append(memoryview(_HEADER.pack(*header)))
        self._outgoing.append(data.data.cast("B"))

    def send(self) -> None:
        """As much as the system takes."""
        while self._outgoing:
            try:
                sent = self._link.sendmsg(itertools.islice(self._outgoing, _AT_ONCE))
            except BlockingIOError:
                return
            while sent and sent >= len(self._outgoing[0]):
                sent -= len(self._outgoing.popleft())
            if sent:
                self._outgoing[0] = self._outgoing[0][sent:]

    def header(self) -> Header | None:
        """Of the frame that arrives; `None` while it is not here."""
        size = len(self._head)
        if self._filled < size:
            self._filled += self._receive(memoryview(self._head)[self._filled :])
        return Header(*_HEADER.unpack(self._head)) if self._filled >= size else None

    def fill(self, data: Floats) -> bool:
        """Whether all of the frame's numbers are in `data`; the next header comes then."""
        start = self._filled - len(self._head)
        into = data.data.cast("B")
        self._filled += self._receive(into[start:])
        if self._filled < len(self._head) + len(into):
            return False
        self._filled = 0
        return True

    def _receive(self, into: memoryview) -> int:
        try:
            count = self._link.recv_into(into)
        except BlockingIOError:
            return 0
        if not count:
            raise ConnectionError("its socket is closed")
        return count
