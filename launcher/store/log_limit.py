"""The limit of a run's logs: older parts are dropped in place.

A hole is punched into the file (fallocate). That frees its blocks and keeps all offsets, for the
rank that appends, for metrics with offsets of lines, and for readers. The first lines, which name
what was started, are kept; then comes a line with the number of dropped bytes, then the newest
lines. What the agent has not read yet is never dropped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 2.0
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02
HEAD_BYTES = 64 << 10
TAIL_BYTES = 64 << 10
"""Kept of each log in any case."""
LINE_BYTES = 1 << 20
DOWN_TO = 0.9
"""Of the limit: dropping a little at every poll costs more than it frees."""
MARK = b"effnet-launch: [logs] limit_mb: older lines were dropped here, bytes: "
MARK_BYTES = len(MARK) + 16


@dataclass(frozen=True)
class Log:
    """`used_bytes`: on the disk. `size_bytes`: length with holes."""

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
        self._poll_at = 0.0

    def poll(self, now: float, read_to: Mapping[Path, int] | None = None) -> OSError | None:
        """Enforces it every `POLL_S`. -> why it cannot, once. `now`: monotonic seconds."""
        if now < self._poll_at or self.trouble is not None or not self._limit_bytes:
            return None
        self._poll_at = now + POLL_S
        self.enforce(read_to)
        return self.trouble

    def enforce(self, read_to: Mapping[Path, int] | None = None) -> int:
        """Drops what is above the limit. -> bytes freed.

        `read_to`: how far the agent has read its logs; others may be dropped up to their tails.
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
        # The line end before `end` stays, so the kept lines are whole.
        _punch(fd, start, end - 1 - start)
        os.pwrite(fd, MARK + b"%15d\n" % (end - head), head)
        return (before - os.fstat(fd).st_blocks) * 512
    finally:
        os.close(fd)


def _line_end(fd: int, position: int) -> int:
    """The offset after the last line end before `position`; 0 when none is near."""
    begin = max(0, position - LINE_BYTES)
    found = os.pread(fd, max(0, position - begin), begin).rfind(b"\n") + 1
    return begin + found if found else 0


def _punch(fd: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_int64(offset), ctypes.c_int64(length))
    if libc.fallocate(fd, KEEP_SIZE | PUNCH_HOLE, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot punch a hole: {os.strerror(number)}")


def _logs(root: Path) -> Iterator[Log]:
    attempts = root / "attempts"
    for pattern in ("*/ranks/*/log.txt", "*/*.log"):
        for path in attempts.glob(pattern):
            with contextlib.suppress(OSError):
                status = path.stat()
                attempt = path.relative_to(attempts).parts[0]
                yield Log(path, attempt, status.st_size, status.st_blocks * 512)


def _kept(logs: Sequence[Log], excess: int) -> Iterator[tuple[Log, int]]:
    """(log, bytes to keep of its end), to free `excess` bytes.

    The oldest attempt first; within an attempt the longest logs are cut to a common length.
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


def _level(used: Sequence[int], total_bytes: int) -> int:
    """The length to cut logs to, so that together they use `total_bytes`."""
    left = max(0, total_bytes)
    for number, size in enumerate(sorted(used)):
        share = left // (len(used) - number)
        if size > share:
            return share
        left -= size
    return max(used, default=0)
