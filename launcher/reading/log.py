"""Logs of any size: lines by number, from the end, from an offset, and by search.

At most a few chunks of a file are in memory. The index has one number per block of 1 MiB (80 kB for
a log of 10 GB) and grows a chunk at a time, between frames.
"""

from __future__ import annotations

import bisect
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import UsageError
from launcher.reading.growing import GrowingFile, data_from, read_range

BLOCK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
"""What is shown of one line; the rest is counted in ``LogLine.cut_bytes``."""
LAST_BYTES = 64 * 1024
"""Of a log's end, for why its process ended."""
DROPPED_BYTES = 4096
"""At least so many zero bytes are what a log's limit dropped (``launcher.store.log_limit``)."""


@dataclass(frozen=True)
class LogLine:
    """One line. ``index`` counts from 0, ``None`` where only the end of a file was read.

    ``text`` may hold control characters; bytes that are no UTF-8 are U+FFFD. ``is_whole`` is false
    for a last line that is still being written.
    """

    index: int | None
    offset: int
    text: str
    cut_bytes: int = 0
    is_whole: bool = True


@dataclass(frozen=True)
class LogPage:
    """Consecutive lines, and the offset to continue reading at."""

    lines: tuple[LogLine, ...]
    next_offset: int


@dataclass(frozen=True)
class LogMatches:
    """What a search found so far; ``next_offset`` is ``None`` at the end."""

    lines: tuple[LogLine, ...]
    next_offset: int | None


class LogReader:
    """One log file that may grow, be missing, be cut off or be replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = GrowingFile(path)
        # Line ends before each indexed block, and after the last.
        self._ends_before = array("Q", [0])
        self._ends_in_rest = 0

    @property
    def size_bytes(self) -> int:
        """The file's length at the last refresh."""
        return self._file.size_bytes

    @property
    def generation(self) -> int:
        """Grows by one when the file was replaced or cut off: all line numbers are new."""
        return self._file.generation

    @property
    def is_indexed(self) -> bool:
        """Whether line numbers reach the end of the file."""
        return self._file.offset >= self.size_bytes

    @property
    def line_count(self) -> int:
        """Lines indexed so far, a last one without its end included."""
        ends = self._ends_before[-1] + self._ends_in_rest
        if self._file.offset == 0:
            return 0
        last = read_range(self.path, self._file.offset - 1, 1)
        return ends + (last != b"\n")

    def refresh(self, budget_bytes: int = 64 * BLOCK_BYTES) -> bool:
        """Indexes up to ``budget_bytes`` more. True when all is indexed."""
        if self._file.refresh():
            self._ends_before = array("Q", [0])
            self._ends_in_rest = 0
        while budget_bytes > 0:
            room = BLOCK_BYTES - self._file.offset % BLOCK_BYTES
            data = self._file.read(room)
            if not data:
                break
            budget_bytes -= len(data)
            self._ends_in_rest += data.count(b"\n")
            if self._file.offset % BLOCK_BYTES == 0:
                self._ends_before.append(self._ends_before[-1] + self._ends_in_rest)
                self._ends_in_rest = 0
        return self.is_indexed

    def lines(self, first: int, count: int) -> tuple[LogLine, ...]:
        """Up to ``count`` lines from line ``first`` (from 0), of those that are indexed."""
        offset = self._offset_of(first)
        if offset is None or count <= 0:
            return ()
        found = []
        for line in self._walk(offset, self._file.offset, first):
            found.append(line)
            if len(found) == count:
                break
        return tuple(found)

    def tail(self, count: int, max_bytes: int = 8 * BLOCK_BYTES) -> LogPage:
        """The last lines, without an index; ``next_offset`` is where to follow from.

        Reads at most ``max_bytes``: fewer lines when they are very long. A last line without its
        end is included, and read again from ``next_offset``.
        """
        self.refresh(0)
        end = self.size_bytes
        start, data = end, b""
        while start > 0 and end - start < max_bytes and data.count(b"\n") <= count:
            step = min(64 * 1024 if not data else len(data), start, max_bytes - len(data))
            start -= step
            data = read_range(self.path, start, step) + data
        if start > 0:
            # Before the first line end is a part of a line.
            cut = data.find(b"\n") + 1
            start += cut
        lines = tuple(self._walk(start, end, None))[-count:] if count > 0 else ()
        is_open = bool(lines) and not lines[-1].is_whole
        return LogPage(lines, lines[-1].offset if is_open else end)

    def read_from(self, offset: int, count: int = 10_000, max_bytes: int = BLOCK_BYTES) -> LogPage:
        """New whole lines from ``offset``. To follow a log, call again with ``next_offset``.

        A line without its end is left for later, unless it is longer than ``max_bytes``.
        """
        self.refresh(0)
        found: list[LogLine] = []
        position = offset
        for start, data, is_whole, cut in self._raw(offset, self.size_bytes):
            length = len(data) + cut
            if len(found) == count or start - offset >= max_bytes:
                break
            if not is_whole and length < max_bytes:
                break
            found.append(self._line(None, start, data, is_whole, cut))
            position = start + length + is_whole
        return LogPage(tuple(found), position)

    def line_at(self, offset: int) -> int | None:
        """The number of the line that holds the byte at ``offset``; ``None``: not indexed yet."""
        if not 0 <= offset < self._file.offset:
            return None
        block = offset // BLOCK_BYTES
        start = block * BLOCK_BYTES
        before = read_range(self.path, start, offset - start)
        return int(self._ends_before[block]) + before.count(b"\n")

    def search(
        self,
        pattern: str,
        offset: int = 0,
        *,
        limit: int = 100,
        ignore_case: bool = False,
        budget_bytes: int = 64 * BLOCK_BYTES,
    ) -> LogMatches:
        """Lines that match a regular expression, from the line at ``offset`` on.

        Stops after ``limit`` matches or ``budget_bytes``; call again with ``next_offset``. Only the
        first 16 KiB of a line are searched. Raises UsageError for an invalid expression.
        """
        try:
            regex = re.compile(pattern.encode(), re.IGNORECASE if ignore_case else 0)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(f"invalid regular expression: {error}") from None
        self.refresh(0)
        found: list[LogLine] = []
        index = self.line_at(offset)
        for start, data, is_whole, cut in self._raw(offset, self.size_bytes):
            if start - offset >= budget_bytes or len(found) == limit:
                return LogMatches(tuple(found), start)
            if regex.search(data):
                number = index if start < self._file.offset else None
                found.append(self._line(number, start, data, is_whole, cut))
            index = None if index is None else index + 1
        return LogMatches(tuple(found), None)

    def _offset_of(self, line: int) -> int | None:
        if line < 0 or line >= self.line_count:
            return None
        if line == 0:
            return 0
        # Line n starts after line end n: the block with it is the last with fewer ends before it.
        block = bisect.bisect_left(self._ends_before, line) - 1
        start = block * BLOCK_BYTES
        data = read_range(self.path, start, BLOCK_BYTES)
        position = -1
        for _ in range(line - self._ends_before[block]):
            position = data.find(b"\n", position + 1)
            if position < 0:
                return None
        return start + position + 1

    def _walk(self, offset: int, end: int, index: int | None) -> Iterator[LogLine]:
        for start, data, is_whole, cut in self._raw(offset, end):
            yield self._line(index, start, data, is_whole, cut)
            index = None if index is None else index + 1

    @staticmethod
    def _line(index: int | None, start: int, data: bytes, is_whole: bool, cut: int) -> LogLine:
        if len(data) >= DROPPED_BYTES and not data.strip(b"\0"):
            return LogLine(index, start, "", cut + len(data), is_whole)
        return LogLine(index, start, data.decode("utf-8", "replace"), cut, is_whole)

    def _raw(self, offset: int, end: int) -> Iterator[tuple[int, bytes, bool, int]]:
        """Start, shown bytes, whether whole, and count of cut bytes of each line in a range."""
        start, shown, length = offset, b"", 0
        position = offset
        while position < end:
            data = read_range(self.path, position, min(BLOCK_BYTES, end - position))
            if not data:
                return
            position += len(data)
            if not data[-1] and not data.strip(b"\0"):
                # Dropped lines: their length is known without reading them.
                after = min(data_from(self.path, position), end)
                length += len(data) + after - position
                shown = (shown + data[:MAX_LINE_BYTES])[:MAX_LINE_BYTES]
                position = after
                continue
            *whole, rest = data.split(b"\n")
            for part in whole:
                line = (shown + part)[:MAX_LINE_BYTES] if length else part[:MAX_LINE_BYTES]
                length += len(part)
                yield start, line, True, length - len(line)
                start, shown, length = start + length + 1, b"", 0
            length += len(rest)
            shown = (shown + rest[:MAX_LINE_BYTES])[:MAX_LINE_BYTES]
        if length:
            yield start, shown, False, length - len(shown)
