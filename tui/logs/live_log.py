"""``launcher.client``'s log reader as the log window wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from launcher.client import LogLine, LogReader

CHUNK_LINES: Final = 4000
UPWARD_LIMIT: Final = 200_000  # lines that one search upwards reads: about a second
DOWNWARD_BYTES: Final = 32 << 20


class LiveLog:
    """One log file."""

    prefix: Final = 0

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.stopped_at: int | None = None

    def refresh(self) -> int:
        self._reader.refresh()
        return self._reader.line_count

    @property
    def is_counted(self) -> bool:
        return self._reader.is_indexed

    def lines(self, first: int, count: int) -> Sequence[str]:
        return [text_of(line) for line in self._reader.lines(first, count)]

    def tail(self, count: int) -> Sequence[str]:
        return [text_of(line) for line in self._reader.tail(count).lines]

    def line_at(self, offset: int) -> int | None:
        return self._reader.line_at(offset)

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        """Downwards by the reader's own search, upwards chunk by chunk."""
        self.stopped_at = None
        if step < 0:
            return self._upwards(pattern, start, count)
        at = self._reader.lines(start, 1)
        if not at:
            return []
        some = self._reader.search(
            pattern.pattern,
            at[0].offset,
            limit=count,
            ignore_case=bool(pattern.flags & re.IGNORECASE),
            budget_bytes=DOWNWARD_BYTES,
        )
        if some.next_offset is not None and len(some.lines) < count:
            self.stopped_at = self._reader.line_at(some.next_offset)
        return [(line.index, text_of(line)) for line in some.lines if line.index is not None]

    def _upwards(self, pattern: re.Pattern[str], start: int, count: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        end, stop = start + 1, max(0, start - UPWARD_LIMIT)
        while end > stop and len(found) < count:
            first = max(end - CHUNK_LINES, 0)
            chunk = self._reader.lines(first, end - first)
            found += [
                (first + at, text_of(chunk[at]))
                for at in range(len(chunk) - 1, -1, -1)
                if pattern.search(chunk[at].text)
            ]
            end = first
        if end > 0 and len(found) < count:
            self.stopped_at = end - 1
        return found[:count]


def text_of(line: LogLine) -> str:
    """A line as it is shown; a long one is cut and ends with how much is missing."""
    return f"{line.text} … {line.cut_bytes} bytes more" if line.cut_bytes else line.text
