"""The listening socket of a rank while the ranks connect: lets in those that prove who they are."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Collection

from effnet.distributed.handshake import (
    HELLO_BYTES,
    PROOF_BYTES,
    Meeting,
    NotProved,
    nonce,
    read_hello,
)

_MAX_CALLERS = 64
"""Connections that may be unproved at a time; the oldest is closed for another one."""


class _Caller:
    """A connection that has proved nothing yet."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        self._received = b""
        self._meeting: Meeting | None = None

    def hear(self, secret: bytes, own: int, expected: Collection[int]) -> int | None:
        """The rank that it proved to be; `None` while more has to come. Raises `OSError`."""
        wanted = HELLO_BYTES if self._meeting is None else PROOF_BYTES
        found = self.link.recv(wanted - len(self._received))
        if not found:
            raise NotProved("it closed the connection")
        self._received += found
        if len(self._received) < wanted:
            return None
        message, self._received = self._received, b""
        if self._meeting is not None:
            self._meeting.check_proof(message)
            return self._meeting.connecting
        rank, its = read_hello(message)
        if rank not in expected:
            raise NotProved(f"rank {rank} is not expected")
        self._meeting = Meeting(secret, rank, own, its, nonce())
        self.link.sendall(self._meeting.answer())
        return None


class Door:
    """Listens at `address`, on a port that the system chooses. Raises `OSError`."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.bind((address, 0))
            self._socket.listen(128)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def admit(
        self, secret: bytes, own: int, expected: Collection[int], until_s: float
    ) -> dict[int, socket.socket]:
        """The links of those of the `expected` ranks that came by then (`time.monotonic`)."""
        admitted: dict[int, socket.socket] = {}
        callers: dict[int, _Caller] = {}
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)

        def forget(fd: int) -> socket.socket:
            poll.unregister(fd)
            return callers.pop(fd).link

        while len(admitted) < len(expected):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            for fd, _ in poll.poll(max(1, left_s * 1e3)):
                if fd == self._socket.fileno():
                    for caller in self._new_callers():
                        if len(callers) == _MAX_CALLERS:
                            forget(next(iter(callers))).close()
                        callers[caller.link.fileno()] = caller
                        poll.register(caller.link, select.POLLIN)
                elif fd in callers:
                    try:
                        rank = callers[fd].hear(secret, own, set(expected) - set(admitted))
                    except OSError:  # a port scanner, or another run's rank
                        forget(fd).close()
                        continue
                    if rank is not None:
                        link = forget(fd)
                        if rank in admitted:
                            link.close()
                        else:
                            admitted[rank] = link
        for caller in callers.values():
            caller.link.close()
        return admitted

    def _new_callers(self) -> list[_Caller]:
        try:
            return [_Caller(self._socket.accept()[0])]
        except OSError:  # it has gone again
            return []
