"""The logs of several ranks as one, by time: what the log window reads when it shows many ranks.

Only reports have a time. A line between two reports of its rank follows the first of them; lines
that come while the log is shown are appended. The lines of a rank keep their order. Nothing is
copied: the order is a list of cuts (how many lines of each rank came before), and the few lines
between two cuts are sorted when they are shown.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tui.logs.live_log import text_of

if TYPE_CHECKING:
    from launcher.client import LogLine, LogReader, LogTimes

Cut = tuple[int, ...]  # lines of each rank
CUT_LINES: Final = 2_000  # about so many lines of an existing log are between two cuts
MAX_SLICE: Final = 8_000  # lines that are sorted in one step
KEPT_LINES: Final = 20_000  # sorted lines that are cached
SEARCH_LINES: Final = 200_000  # that one search reads before it returns
MAX_CUTS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's log, and when its reports were written."""

    rank: int
    reader: LogReader
    times: LogTimes


class MergedLog:
    """A :class:`tui.logs.log_source.LogSource`; each line begins with its rank, ``prefix`` wide."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._digits = max((len(str(part.rank)) for part in parts), default=1)
        self.stopped_at: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._generations = tuple(part.reader.generation for part in self._parts)
        self._cuts: list[Cut | None] = []  # None: not computed yet, see ``_moments``
        self._moments: list[float] = []
        self._whole = False
        self._cache: OrderedDict[tuple[Cut, Cut], list[str]] = OrderedDict()
        self._cached_lines = 0

    @property
    def prefix(self) -> int:
        return self._digits + 2

    @property
    def is_counted(self) -> bool:
        return self._whole

    def refresh(self) -> int:
        for part in self._parts:
            part.reader.refresh()
            part.times.poll()
        if tuple(part.reader.generation for part in self._parts) != self._generations:
            self._clear()
        counts = tuple(part.reader.line_count for part in self._parts)
        if not self._whole:
            if not all(part.reader.is_indexed for part in self._parts):
                return sum(counts)
            self._whole = True
            self._begin(counts)
        elif counts != self._cuts[-1]:
            self._cuts.append(counts)
            self._moments.append(math.nan)
            if len(self._cuts) > MAX_CUTS:
                del self._cuts[1:-1:2], self._moments[1:-1:2]
        return sum(counts)

    def _begin(self, counts: Cut) -> None:
        """Cuts through the existing lines, at times of reports; each is computed when needed."""
        busiest = max((part.times for part in self._parts), key=len)
        wanted = min(sum(counts) // CUT_LINES, len(busiest), MAX_CUTS // 2)
        at = [len(busiest) * number // wanted for number in range(1, wanted)]
        moments = [busiest.time_s(number) for number in at]
        self._cuts = [(0,) * len(counts), *[None] * len(moments), counts]
        self._moments = [math.nan, *moments, math.nan]

    def _cut(self, number: int) -> Cut:
        found = self._cuts[number]
        if found is None:
            found = tuple(self._lines_by(part, self._moments[number]) for part in self._parts)
            self._cuts[number] = found
        return found

    @staticmethod
    def _lines_by(part: Part, time_s: float) -> int:
        offset = part.times.offset_before(time_s)
        line = None if offset is None else part.reader.line_at(offset)
        return 0 if line is None else line + 1

    def _slice(self, number: int) -> tuple[int, Cut, Cut]:
        """The slice that holds merged line ``number``: its first number, and its two cuts."""
        low, high = 0, len(self._cuts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if sum(self._cut(middle)) <= number:
                low = middle
            else:
                high = middle
        before, after = self._cut(low), self._cut(high)
        size = sum(after) - sum(before)
        pieces = -(-size // MAX_SLICE)
        if pieces <= 1:
            return sum(before), before, after
        # So many lines without a report have no known order: each rank gives its share.
        low, high = 0, pieces
        while high - low > 1:
            middle = (low + high) // 2
            if sum(_between(before, after, middle, pieces)) <= number:
                low = middle
            else:
                high = middle
        first = _between(before, after, low, pieces)
        return sum(first), first, _between(before, after, high, pieces)

    def _merged(self, before: Cut, after: Cut) -> list[str]:
        known = self._cache.get((before, after))
        if known is not None:
            self._cache.move_to_end((before, after))
            return known
        keyed: list[tuple[float, int, int, str]] = []
        whole = True
        for index, part in enumerate(self._parts):
            lines = part.reader.lines(before[index], after[index] - before[index])
            keyed += self._keyed(index, part, lines)
            whole = whole and all(line.is_whole for line in lines[-1:])
        keyed.sort()
        found = [text for _, _, _, text in keyed]
        if whole:
            self._cache[before, after] = found
            self._cached_lines += len(found)
            while self._cached_lines > KEPT_LINES and len(self._cache) > 1:
                self._cached_lines -= len(self._cache.popitem(last=False)[1])
        return found

    def _keyed(
        self, index: int, part: Part, lines: Sequence[LogLine]
    ) -> list[tuple[float, int, int, str]]:
        if not lines:
            return []
        reports = part.times.between(lines[0].offset, lines[-1].offset)
        time_s = part.times.time_before(lines[0].offset)
        keyed = []
        for at, line in enumerate(lines):
            time_s = reports.get(line.offset, time_s)
            keyed.append((time_s, index, at, f"r{part.rank:<{self._digits}} {text_of(line)}"))
        return keyed

    def lines(self, first: int, count: int) -> Sequence[str]:
        found: list[str] = []
        total = self._total()
        at = max(first, 0)
        while at < total and len(found) < count:
            start, before, after = self._slice(at)
            some = self._merged(before, after)[at - start :]
            if not some:
                break
            found += some[: count - len(found)]
            at = start + sum(after) - sum(before)
        return found

    def tail(self, count: int) -> Sequence[str]:
        keyed: list[tuple[float, int, int, str]] = []
        for index, part in enumerate(self._parts):
            keyed += self._keyed(index, part, part.reader.tail(count).lines)
        keyed.sort()
        return [text for _, _, _, text in keyed][-count:]

    def line_at(self, offset: int) -> int | None:
        """Always ``None``: an offset belongs to one rank's log."""
        return None

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        """Matches from ``start`` on, both ways; the rank's prefix is not searched."""
        self.stopped_at = None
        found: list[tuple[int, str]] = []
        total, read = self._total(), 0
        at = min(start, total - 1) if step < 0 else start
        while 0 <= at < total and len(found) < count:
            if read >= SEARCH_LINES:
                self.stopped_at = at
                break
            first, before, after = self._slice(at)
            lines = self._merged(before, after)
            if not first <= at < first + len(lines):
                break
            stop = first - 1 if step < 0 else first + len(lines)
            for number in range(at, stop, step):
                if pattern.search(lines[number - first][self.prefix :]):
                    found.append((number, lines[number - first]))
                    if len(found) == count:
                        break
            read += abs(stop - at)
            at = stop
        return found

    def _total(self) -> int:
        return sum(self._cut(len(self._cuts) - 1)) if self._cuts else 0


def _between(before: Cut, after: Cut, piece: int, pieces: int) -> Cut:
    return tuple(
        low + (high - low) * piece // pieces for low, high in zip(before, after, strict=True)
    )
