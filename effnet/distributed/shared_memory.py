"""Sums over the ranks of one machine, through memory that they share.

A collective library that talks over loopback copies 31 MB through sockets as often as there are
ranks. Here each rank fills its own part of one shared segment, adds up its share of the numbers
over all parts, in the order of the ranks, and reads the whole result: every number is added by
one rank alone, so all ranks have the same bits.

The segment has no name in any file system and the sockets are abstract, so nothing is left to
clean up after a crash. A rank waits by sleeping in `recv`: one that died closes its socket,
and the others know at once.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from effnet.distributed.group import Group, PeerGone
from effnet.optim.pieces import Floats

JOIN_LIMIT_S = 60.0
GONE_LIMIT_S = 30.0
"""How long a rank whose peer died waits for the launcher, which knows the cause, to end it: as long
as MindSpore's own collectives do."""

_CHUNK = 65_536
_LINE = 16
"""float32 numbers of a cache line, which no two ranks write to."""
_WORDS = 4
"""An id of 64 bits travels as so many float32 numbers of 16 bits, each exact."""
_CREDENTIALS = struct.Struct("3i")


class SharedSum:
    """Element-wise sums of `size` float32 numbers over `ranks` ranks; made by `join`."""

    def __init__(
        self, rank: int, ranks: int, size: int, memory: mmap.mmap, links: Sequence[socket.socket]
    ) -> None:
        self._rank = rank
        self._links = links
        stride = _stride(size)
        flat = np.frombuffer(memory, np.float32)
        self._parts = [flat[n * stride : n * stride + size] for n in range(ranks)]
        self._result = flat[ranks * stride : ranks * stride + size]
        share = -(-size // (ranks * _LINE)) * _LINE
        self._first = min(size, rank * share)
        self._last = min(size, self._first + share)
        self.bucket = self._parts[rank]
        """This rank's numbers, to be filled before each `reduce`."""

    def reduce(self) -> Floats:
        """The sums, until the next call; waits for the slowest. Raises `PeerGone`."""
        self._barrier()
        # The step reports a loss that is not finite.
        with np.errstate(all="ignore"):
            for start in range(self._first, self._last, _CHUNK):
                here = slice(start, min(start + _CHUNK, self._last))
                total = self._result[here]
                np.add(self._parts[0][here], self._parts[1][here], out=total)
                for part in self._parts[2:]:
                    total += part[here]
        # Nobody fills a bucket that is still read, or overwrites a result that is still used: both
        # happen after this barrier, or after the next step's first.
        self._barrier()
        return self._result

    def _barrier(self) -> None:
        """A barrier: each rank signals rank 0, which then signals each."""
        try:
            if self._rank == 0:
                for link in self._links:
                    _expect(link)
                for link in self._links:
                    link.sendall(b".")
            else:
                self._links[0].sendall(b".")
                _expect(self._links[0])
        except OSError as error:
            # The cause is in the other rank's log, and the launcher should see that one end first.
            time.sleep(GONE_LIMIT_S)
            raise PeerGone(
                f"another rank of this machine is gone ({error})",
                hint="read that rank's log, then resume from the newest checkpoint",
            ) from error


def join(group: Group, size: int) -> SharedSum | None:
    """Shared memory for `size` numbers, or `None` where the ranks are not on one machine or the
    system has none to share. All ranks call it together and get the same kind of answer.
    """
    if group.size == 1 or not _on_one_machine(group):
        return None
    listener, token = None, 0
    if group.rank == 0:
        with suppress(OSError):
            listener, token = _listen(group.size)
    token = _from_words(group.broadcast(_words(token)))
    found = None
    with suppress(OSError, ValueError):
        if listener is not None:
            found = _serve(listener, group.size, size)
        elif token:
            found = _connect(token, group.rank, group.size, size)
    if listener is not None:
        listener.close()
    agreed = float(group.sum(np.array([found is not None], np.float32))[0])
    return found if agreed == group.size else None


def _on_one_machine(group: Group) -> bool:
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        place = file.read()
    # Containers of one machine may share the kernel and no sockets.
    place += f"{os.stat('/proc/self/ns/net').st_ino} {os.getuid()}".encode()
    own = int.from_bytes(hashlib.sha256(place).digest()[:8], "big")
    every = np.zeros((group.size, _WORDS), np.float32)
    every[group.rank] = _words(own)
    every = group.sum(every)
    return bool((every == every[0]).all())


def _listen(ranks: int) -> tuple[socket.socket, int]:
    token = secrets.randbits(64) | 1
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_address(token))
    listener.listen(ranks)
    listener.settimeout(JOIN_LIMIT_S)
    return listener, token


def _serve(listener: socket.socket, ranks: int, size: int) -> SharedSum:
    """Rank 0: makes the segment and sends it to each rank that connects."""
    fd = os.memfd_create("effnet-sum")
    try:
        os.ftruncate(fd, 4 * _stride(size) * (ranks + 1))
        memory = mmap.mmap(fd, 0)
        links: dict[int, socket.socket] = {}
        while len(links) < ranks - 1:
            link, _ = listener.accept()
            link.settimeout(JOIN_LIMIT_S)
            own = _CREDENTIALS.unpack(
                link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            # Another user's process could only have guessed the address.
            if own[1] != os.getuid():
                link.close()
                continue
            links[_expect(link)] = link
            socket.send_fds(link, [b"m"], [fd])
            link.settimeout(None)
    finally:
        os.close(fd)
    return SharedSum(0, ranks, size, memory, [links[rank] for rank in sorted(links)])


def _connect(token: int, rank: int, ranks: int, size: int) -> SharedSum:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(JOIN_LIMIT_S)
    link.connect(_address(token))
    link.sendall(bytes([rank]))
    _, fds, _, _ = socket.recv_fds(link, 1, 1)
    if not fds:
        raise ConnectionError("rank 0 ended")
    try:
        memory = mmap.mmap(fds[0], 0)
    finally:
        os.close(fds[0])
    link.settimeout(None)
    return SharedSum(rank, ranks, size, memory, [link])


def _expect(link: socket.socket) -> int:
    """One byte; raises `ConnectionError` if the other side closed it."""
    found = link.recv(1)
    if not found:
        raise ConnectionError("its socket is closed")
    return found[0]


def _address(token: int) -> str:
    return f"\0effnet-sum-{token:016x}"


def _stride(size: int) -> int:
    """Numbers from one part of the segment to the next: whole pages."""
    page = mmap.PAGESIZE // 4
    return -(-size // page) * page


def _words(number: int) -> Floats:
    return np.array([number >> shift & 0xFFFF for shift in (0, 16, 32, 48)], np.float32)


def _from_words(words: Floats) -> int:
    return sum(int(word) << shift for word, shift in zip(words, (0, 16, 32, 48), strict=True))
