"""How many lines of a log match a search, and which of them is the one that is shown."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from typing import Final

from tui.logs.log_source import LogSource

MATCHES_A_TURN: Final = 2_000
MOST: Final = 100_000  # matches that are counted; a million numbers help nobody


class MatchCount:
    """Counts a part of a long log at each ``advance``."""

    def __init__(self, source: LogSource, pattern: re.Pattern[str]) -> None:
        self._source = source
        self._pattern = pattern
        self._lines = array("Q")
        self._read_to = 0
        self.is_whole = False

    def __len__(self) -> int:
        return len(self._lines)

    def number_of(self, line: int | None) -> int | None:
        """The number, from 1, of the match in ``line``; ``None`` where that is not known."""
        at = bisect_left(self._lines, line or 0)
        known = line is not None and at < len(self._lines) and self._lines[at] == line
        return at + 1 if known else None

    def advance(self, total: int) -> None:
        """Count on, in a log that has ``total`` lines now."""
        if total < self._read_to:  # it was replaced
            self._read_to, self.is_whole = 0, False
            del self._lines[:]
        if self.is_whole and total > self._read_to:
            self._read_to, self.is_whole = max(self._read_to - 1, 0), False  # it was incomplete
            del self._lines[bisect_left(self._lines, self._read_to) :]
        if self.is_whole or self._read_to >= total or len(self._lines) >= MOST:
            return
        found = self._source.matches(self._pattern, self._read_to, 1, MATCHES_A_TURN)
        stopped_at = self._source.stopped_at
        self._lines.extend(line for line, _ in found)
        if len(found) == MATCHES_A_TURN:
            self._read_to = found[-1][0] + 1
        else:
            self._read_to = total if stopped_at is None else stopped_at
        self.is_whole = self._read_to >= total
