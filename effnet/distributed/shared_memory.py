"""Memory that the ranks of one machine share: the parts of their logical ranks, and the sums.

A collective library that talks over loopback copies 31 MB through sockets as often as there are
ranks. Here each rank fills its own parts of one shared segment, and any rank reads all of them.

The segment has no name in any file system and the sockets are abstract, so nothing is left to
clean up after a crash. A rank waits by sleeping in `recv`: one that died closes its socket,
and the others know at once.
"""

from __future__ import annotations

import mmap
import os
import secrets
import socket
import struct
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from effnet.distributed.group import Group, PeerGone
from effnet.distributed.places import Layout, from_words, gather, to_words
from effnet.optim.pieces import Floats, aligned

JOIN_LIMIT_S = 60.0
_TOKEN_BYTES = 8
_CREDENTIALS = struct.Struct("3i")


class Memory:
    """`size` float32 numbers of each logical rank of a place, and as many sums; made by `share`.

    `flat` holds them, `links` lead from the place's first rank to each other one and back.
    """

    def __init__(
        self,
        size: int,
        carried: Sequence[int],
        flat: Floats,
        links: Sequence[socket.socket] = (),
        is_first: bool = True,
    ) -> None:
        self._links = links
        self._is_first = is_first
        stride = _stride(size)
        ends = {number: n * stride + size for n, number in enumerate(carried)}
        self.parts = {number: flat[end - size : end] for number, end in ends.items()}
        """By logical rank; each is filled by the rank that carries it."""
        self.result = flat[len(carried) * stride :][:size]

    def barrier(self) -> None:
        """Waits for the place's other ranks: each signals the first, which then signals each.

        Raises `PeerGone`.
        """
        try:
            if self._is_first:
                for link in self._links:
                    _expect(link)
                for link in self._links:
                    link.sendall(b".")
            else:
                self._links[0].sendall(b".")
                _expect(self._links[0])
        except OSError as error:
            raise PeerGone.after_waiting("another rank of this machine is gone", error) from error


def share(group: Group, layout: Layout, size: int) -> Memory | None:
    """The memory of this rank's place, or `None` where any rank got none.

    All ranks call it together and get the same kind of answer.
    """
    number = layout.place_of(group.rank)
    here, carried = layout.places[number], layout.carried_at(number)
    if all(len(place) == 1 for place in layout.places):
        return Memory(size, carried, aligned(_numbers(size, carried)))
    is_first = group.rank == here[0]
    listener, token = None, bytes(_TOKEN_BYTES)
    if is_first and len(here) > 1:
        with suppress(OSError):
            listener, token = _listen(len(here))
    token = from_words(gather(group, to_words(token))[here[0]])
    found = None
    with suppress(OSError, ValueError):
        if len(here) == 1:
            found = Memory(size, carried, aligned(_numbers(size, carried)))
        elif listener is not None:
            found = _serve(listener, len(here), size, carried)
        elif any(token):
            found = _connect(token, here.index(group.rank), size, carried)
    if listener is not None:
        listener.close()
    return found if group.all(found is not None) else None


def _listen(ranks: int) -> tuple[socket.socket, bytes]:
    token = secrets.token_bytes(_TOKEN_BYTES)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_address(token))
    listener.listen(ranks)
    listener.settimeout(JOIN_LIMIT_S)
    return listener, token


def _serve(listener: socket.socket, ranks: int, size: int, carried: Sequence[int]) -> Memory:
    """The first rank: makes the segment and sends it to each rank that connects."""
    fd = _segment(4 * _numbers(size, carried))
    try:
        memory = mmap.mmap(fd, 0)
        links: dict[int, socket.socket] = {}
        while len(links) < ranks - 1:
            link, _ = listener.accept()
            link.settimeout(JOIN_LIMIT_S)
            own = _CREDENTIALS.unpack(
                link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            # Every user can see the address, in /proc/net/unix.
            if own[1] != os.getuid():
                link.close()
                continue
            links[_expect(link)] = link
            socket.send_fds(link, [b"m"], [fd])
            link.settimeout(None)
    finally:
        os.close(fd)
    in_order = [links[place] for place in sorted(links)]
    return Memory(size, carried, np.frombuffer(memory, np.float32), in_order)


def _segment(count: int) -> int:
    """A file descriptor of so many bytes of memory that has no name. Raises `OSError`."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("effnet-sum")
        os.ftruncate(fd, count)
        return fd
    # Builds of Python for old systems, as conda's, have no memfd.
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        # A container may have 64 MB there: whoever writes to more than there is would be killed.
        os.posix_fallocate(file.fileno(), 0, count)
        return os.dup(file.fileno())


def _connect(token: bytes, place: int, size: int, carried: Sequence[int]) -> Memory:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(JOIN_LIMIT_S)
    link.connect(_address(token))
    link.sendall(bytes([place]))
    _, fds, _, _ = socket.recv_fds(link, 1, 1)
    if not fds:
        raise ConnectionError("the first rank ended")
    try:
        memory = mmap.mmap(fds[0], 0)
    finally:
        os.close(fds[0])
    link.settimeout(None)
    return Memory(size, carried, np.frombuffer(memory, np.float32), [link], is_first=False)


def _expect(link: socket.socket) -> int:
    """One byte; raises `ConnectionError` if the other side closed it."""
    found = link.recv(1)
    if not found:
        raise ConnectionError("its socket is closed")
    return found[0]


def _address(token: bytes) -> str:
    return f"\0effnet-sum-{token.hex()}"


def _numbers(size: int, carried: Sequence[int]) -> int:
    """In a place's memory: the parts and the sums."""
    return _stride(size) * (len(carried) + 1)


def _stride(size: int) -> int:
    """Numbers from one part of the segment to the next: whole pages."""
    page = mmap.PAGESIZE // 4
    return -(-size // page) * page
