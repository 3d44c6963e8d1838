"""Follows a growing file: whole lines with their offsets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from launcher.core.run.report import MAX_LINE_BYTES

READ_BYTES = 1 << 20


@dataclass
class Tail:
    """Reads `path` from `offset`.

    The file may not exist yet, and may be truncated or replaced (rotation: the old one is read to
    its end first). A line longer than `MAX_LINE_BYTES` is left out: no report is that long.
    """

    path: Path
    offset: int = 0
    """Offset of the first byte that was not returned in a whole line yet."""

    def __post_init__(self) -> None:
        self._fd = -1
        self._identity = (0, 0)
        self._read_to = self.offset
        self._rest = b""
        self._in_huge_line = False

    def read(self, limit_bytes: int = READ_BYTES) -> tuple[int, list[bytes]]:
        """(offset of the first line, whole lines without line ends).

        The offset of a line is that of the previous one plus its length plus 1.
        """
        if self._fd < 0 and not self._open():
            return self.offset, []
        data = os.pread(self._fd, limit_bytes, self._read_to)
        if not data:
            self._follow_rotation()
            return self.offset, []
        self._read_to += len(data)
        first = self.offset
        if self._in_huge_line:
            end = data.find(b"\n")
            if end < 0:
                self.offset = self._read_to
                return first, []
            self._in_huge_line = False
            first = self._read_to - len(data) + end + 1
            data = data[end + 1 :]
        elif self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        self.offset = self._read_to - len(self._rest)
        if len(self._rest) > MAX_LINE_BYTES:
            self._in_huge_line = True
            self._rest = b""
            self.offset = self._read_to
        return first, lines

    def at_end(self) -> bool:
        """Whether all of the file was read."""
        if self._fd < 0 and not self._open():
            return True
        return os.fstat(self._fd).st_size <= self._read_to

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)
        return True

    def _follow_rotation(self) -> None:
        if os.fstat(self._fd).st_size < self._read_to:
            self._start_over()
            return
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return
        if (status.st_dev, status.st_ino) != self._identity:
            self.close()
            if self._open():
                self._start_over()

    def _start_over(self) -> None:
        self.offset = self._read_to = 0
        self._rest = b""
        self._in_huge_line = False
