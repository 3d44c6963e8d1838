"""Files that grow while they are read, and may be missing, truncated or replaced."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class FileMark:
    """Which file is at a path, and how long it is."""

    device: int
    inode: int
    size_bytes: int
    changed_s: float

    def is_same_file(self, other: FileMark | None) -> bool:
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


def mark(path: Path) -> FileMark | None:
    """The file at ``path``; ``None`` when there is none or no permission."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return FileMark(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime)


def read_range(path: Path, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes from ``offset``; empty when the file is not there (any more)."""
    if length <= 0:
        return b""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(length)
    except OSError:
        return b""
    return data or b""


def data_offset(fd: int, offset: int) -> int:
    """Where data continues at or after `offset`: behind what a log's limit dropped.

    Raises `OSError`.
    """
    size = os.fstat(fd).st_size
    if offset >= size:
        return offset
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: only a hole is left. Otherwise the file system has no holes.
        return size if error.errno == errno.ENXIO else offset


def data_from(path: Path, offset: int) -> int:
    """The same by a file's name; ``offset`` itself when that is unknown."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return offset
    try:
        return data_offset(fd, offset)
    except OSError:
        return offset
    finally:
        os.close(fd)


class GrowingFile:
    """Reads what was appended; starts over when the file was replaced or truncated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.mark: FileMark | None = None
        self.generation = 0

    def refresh(self) -> bool:
        """Updates `mark`. True when the file was replaced or truncated: reading starts over."""
        now = mark(self.path)
        if now is None:
            return False
        before, self.mark = self.mark, now
        is_other = before is not None and not now.is_same_file(before)
        if is_other or now.size_bytes < self.offset:
            self.offset = 0
            self.generation += 1
            return True
        return False

    @property
    def size_bytes(self) -> int:
        """The length at the last refresh; 0 when there is no file."""
        return 0 if self.mark is None else self.mark.size_bytes

    def read(self, limit_bytes: int = CHUNK_BYTES, multiple_of: int = 1) -> bytes:
        """The next bytes, at most ``limit_bytes``, in whole records of ``multiple_of`` bytes."""
        available = min(self.size_bytes - self.offset, limit_bytes)
        available -= available % multiple_of
        data = read_range(self.path, self.offset, available)
        data = data[: len(data) - len(data) % multiple_of]
        self.offset += len(data)
        return data


class GrowingLines:
    """New whole lines. A last line without its end is left for later: its writer may cut it off."""

    def __init__(self, path: Path) -> None:
        self.file = GrowingFile(path)

    def poll(self) -> tuple[bool, list[bytes]]:
        """Whether reading started over, and all new whole lines without their ends."""
        is_new = self.file.refresh()
        data = b"".join(iter(self.file.read, b""))
        end = data.rfind(b"\n") + 1
        self.file.offset -= len(data) - end
        return is_new, data[:end].split(b"\n")[:-1]
