"""Append-only, numbered JSON lines that survive a kill and a power cut.

Several processes may append to one journal: each append locks it and first reads the numbers that
others wrote. The next writer cuts off an incomplete last line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from launcher.process import private

BLOCK_BYTES = 1 << 16


class Journal:
    """A file of numbered lines. `last_n` is the number of the last line, 0 when there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_n = 0
        self._seen_bytes = -1
        private.make_folder(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, private.FILE_MODE)

    def append(self, make_line: Callable[[int], str], *, sync: bool = True) -> int:
        """Writes `make_line(n)` and returns n. Raises `OSError`, and then nothing was added."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._update()
            n = self.last_n + 1
            data = make_line(n).encode() + b"\n"
            written = 0
            try:
                while written < len(data):
                    written += os.pwrite(self._fd, data[written:], self._seen_bytes + written)
                if sync:
                    os.fsync(self._fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._seen_bytes)
                raise
            self._seen_bytes += len(data)
            self.last_n = n
            return n
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)

    def _update(self) -> None:
        """Brings `last_n` up to date and cuts off a torn last line."""
        size = os.fstat(self._fd).st_size
        if size == self._seen_bytes:
            return
        end = size
        tail = b""
        while end > 0:
            start = max(0, end - BLOCK_BYTES)
            tail = os.pread(self._fd, end - start, start) + tail
            end = start
            if tail.rstrip(b"\n").count(b"\n") >= 1 and tail.count(b"\n") >= 2:
                break
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            os.ftruncate(self._fd, size - (len(tail) - whole))
        self._seen_bytes = size - (len(tail) - whole)
        self.last_n = next((n for n, _ in _parsed(reversed(tail[:whole].splitlines()))), 0)
        if self.last_n == 0 and self._seen_bytes:
            # No number near the end: damage. Reading all of it is slow and always right.
            self.last_n = max((n for n, _ in read_lines(self.path)), default=0)


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(n, object) of every whole, numbered line; damaged lines are left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return list(_parsed(data[: data.rfind(b"\n") + 1].splitlines()))


def _parsed(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        number = value.get("n") if isinstance(value, dict) else None
        if type(number) is int and number > 0:
            yield number, value
