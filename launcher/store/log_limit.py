"""The limit of a run's logs, by dropping their older parts in place.

A hole is punched into the file (fallocate): its blocks are free again, while every offset stays
what it was, for the rank that appends, for metrics that point into the log, and for readers. The
first lines are kept, for they say what was started; then a line tells that something is missing,
and then come the newest lines. Of a log nothing is dropped that its agent has not read.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 2.0
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02
HEAD_BYTES = 64 << 10
TAIL_BYTES = 64 << 10
"""What is kept of each log whatever the limit says."""
LINE_BYTES = 1 << 20
DOWN_TO = 0.9
"""Of the limit: to drop a little at every look would cost more than it frees."""
MARK = b"effnet-launch: [logs] limit_mb: older lines were dropped here, bytes: "
MARK_BYTES = len(MARK) + 16


@dataclass(frozen=True)
class Log:
    """`used_bytes` is what it takes on the disk, `size_bytes` its length with holes."""

    path: Path
    attempt: str
    size_bytes: int
    used_bytes: int


class LogLimit:
    """The logs of one run on one machine, below `root`."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.trouble: OSError | None = None
        self._root = root
        self._limit_bytes = limit_bytes
        self._look_at = 0.0

    def look(self, now: float, read_to: Mapping[Path, int] | None = None) -> OSError | None:
        """Enforces it now and then. -> why it cannot be, once. `now`: monotonic seconds."""
        if now < self._look_at or self.trouble is not None or not self._limit_bytes:
            return None
        self._look_at = now + LOOK_S
        self.enforce(read_to)
        return self.trouble

    def enforce(self, read_to: Mapping[Path, int] | None = None) -> int:
        """Looks, and drops what is too much. -> bytes freed.

        `read_to`: how far logs are read by who needs all of them; a log that is not in it may be
        dropped up to its tail.
        """
        logs = list(_logs(self._root))
        excess = sum(log.used_bytes for log in logs) - self._limit_bytes
        if excess <= 0:
            return 0
        excess += int(self._limit_bytes * (1 - DOWN_TO))
        freed = 0
        for log, keep_bytes in _kept(logs, excess):
            end = log.size_bytes - keep_bytes
            if read_to is not None:
                end = min(end, read_to.get(log.path, end))
            try:
                freed += drop(log.path, end)
            except OSError as error:
                self.trouble = error
        return freed


def drop(path: Path, end: int) -> int:
    """Drops lines between a log's head and `end`. -> bytes freed. Raises `OSError`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        head = os.pread(fd, HEAD_BYTES, 0).rfind(b"\n") + 1
        start = head + MARK_BYTES
        end = _line_end(fd, end)
        if head == 0 or end <= start + TAIL_BYTES:
            return 0
        before = os.fstat(fd).st_blocks
        # The line end before `end` stays: lines that are kept are whole.
        _punch(fd, start, end - 1 - start)
        os.pwrite(fd, MARK + b"%15d\n" % (end - head), head)
        return (before - os.fstat(fd).st_blocks) * 512
    finally:
        os.close(fd)


def _line_end(fd: int, position: int) -> int:
    """The offset behind the last line end before `position`; 0 when there is none near."""
    begin = max(0, position - LINE_BYTES)
    found = os.pread(fd, max(0, position - begin), begin).rfind(b"\n") + 1
    return begin + found if found else 0


def _punch(fd: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_int64(offset), ctypes.c_int64(length))
    if libc.fallocate(fd, KEEP_SIZE | PUNCH_HOLE, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no hole can be punched: {os.strerror(number)}")


def _logs(root: Path) -> Iterator[Log]:
    attempts = root / "attempts"
    for pattern in ("*/ranks/*/log.txt", "*/*.log"):
        for path in attempts.glob(pattern):
            with contextlib.suppress(OSError):
                status = path.stat()
                attempt = path.relative_to(attempts).parts[0]
                yield Log(path, attempt, status.st_size, status.st_blocks * 512)


def _kept(logs: Sequence[Log], excess: int) -> Iterator[tuple[Log, int]]:
    """Which logs give, and how much of their end each keeps; `excess` is to be freed.

    Attempts that are over give first, the oldest before the others; within an attempt the longest
    logs give down to a common length.
    """
    for attempt in sorted({log.attempt for log in logs}):
        if excess <= 0:
            return
        of_attempt = [log for log in logs if log.attempt == attempt]
        total = sum(log.used_bytes for log in of_attempt)
        level = max(_level([log.used_bytes for log in of_attempt], total - excess), HEAD_BYTES)
        for log in of_attempt:
            if log.used_bytes > level:
                yield log, max(TAIL_BYTES, level - HEAD_BYTES)
                excess -= log.used_bytes - level


def _level(used: Sequence[int], wanted: int) -> int:
    """The length down to which logs are cut so that together they take `wanted` bytes."""
    left = max(0, wanted)
    for number, size in enumerate(sorted(used)):
        share = left // (len(used) - number)
        if size > share:
            return share
        left -= size
    return max(used, default=0)
