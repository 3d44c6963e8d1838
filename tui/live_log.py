"""``launcher.client``'s log reader as the log window wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from launcher.client import LogReader

CHUNK_LINES: Final = 4000
BACKWARD_LIMIT: Final = 2_000_000  # lines that one step towards the top looks at


class LiveLog:
    """One log file; nothing of it is kept."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    def refresh(self) -> int:
        """Look for new lines; how many are counted."""
        self._reader.refresh()
        return self._reader.line_count

    @property
    def is_counted(self) -> bool:
        """Whether line numbers reach the end of the file."""
        return self._reader.is_indexed

    def lines(self, first: int, count: int) -> Sequence[str]:
        """Lines by number; a long one ends in how much was cut off."""
        return [_text(line.text, line.cut_bytes) for line in self._reader.lines(first, count)]

    def tail(self, count: int) -> Sequence[str]:
        """The last lines, without their numbers."""
        return [_text(line.text, line.cut_bytes) for line in self._reader.tail(count).lines]

    def line_at(self, offset: int) -> int | None:
        """The number of the line that holds a byte."""
        return self._reader.line_at(offset)

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        """Matching lines, downwards by the reader's own search, upwards chunk by chunk."""
        if step < 0:
            return self._upwards(pattern, start, count)
        found: list[tuple[int, str]] = []
        at = self._reader.lines(start, 1)
        offset: int | None = at[0].offset if at else None
        while offset is not None and len(found) < count:
            some = self._reader.search(
                pattern.pattern,
                offset,
                limit=count - len(found),
                ignore_case=bool(pattern.flags & re.IGNORECASE),
            )
            found += [
                (line.index, _text(line.text, line.cut_bytes))
                for line in some.lines
                if line.index is not None
            ]
            offset = some.next_offset
        return found

    def _upwards(self, pattern: re.Pattern[str], start: int, count: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        end, stop = start + 1, max(0, start - BACKWARD_LIMIT)
        while end > stop and len(found) < count:
            first = max(end - CHUNK_LINES, 0)
            chunk = self._reader.lines(first, end - first)
            found += [
                (first + at, _text(chunk[at].text, chunk[at].cut_bytes))
                for at in range(len(chunk) - 1, -1, -1)
                if pattern.search(chunk[at].text)
            ]
            end = first
        return found[:count]


def _text(text: str, cut_bytes: int) -> str:
    return f"{text} … {cut_bytes} bytes more" if cut_bytes else text
