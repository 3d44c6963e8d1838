"""A series of any length in a bounded number of buckets: new points cost only themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tui.charts.decimate import Extent, columns, smooth

LIMIT: Final = 2048
KEPT_COLUMNS: Final = 4  # sizes of one series that are on the screen at once


class Thinned:
    """Buckets of equal width in steps, each with its lowest, highest and mean value.

    When a series outgrows ``LIMIT`` buckets, neighbours are merged and buckets become twice as
    wide, so that a run of 65 h costs what one of an hour costs.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count = 0  # points taken in
        self.base = 0
        self.width = 1
        self.last_step = 0
        self.last: float | None = None
        self._low: list[float] = []
        self._high: list[float] = []
        self._sum: list[float] = []
        self._number: list[int] = []
        self._known: dict[tuple[int, ...], _Columns] = {}

    def update(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """Add what is new in a series; a series that does not continue the last one replaces it."""
        is_longer = len(steps) >= self.count and (
            self.count == 0 or (steps[0] == self.base and steps[self.count - 1] == self.last_step)
        )
        if not is_longer:
            self.clear()
        for at in range(self.count, len(steps)):
            self._take(steps[at], values[at])
        self.count = len(steps)
        if steps:
            self.last_step = steps[-1]
            self.last = values[-1]

    def _take(self, step: int, value: float) -> None:
        if not self._low and self.count == 0 and not self._number:
            self.base = step
        if not math.isfinite(value):
            return
        at = (step - self.base) // self.width
        while at >= LIMIT:
            self._merge()
            at = (step - self.base) // self.width
        missing = at + 1 - len(self._low)
        if missing > 0:
            self._low += [math.inf] * missing
            self._high += [-math.inf] * missing
            self._sum += [0.0] * missing
            self._number += [0] * missing
        self._low[at] = min(self._low[at], value)
        self._high[at] = max(self._high[at], value)
        self._sum[at] += value
        self._number[at] += 1

    def _merge(self) -> None:
        if len(self._low) % 2:
            self._low.append(math.inf)
            self._high.append(-math.inf)
            self._sum.append(0.0)
            self._number.append(0)
        self._low = [min(pair) for pair in zip(self._low[::2], self._low[1::2], strict=True)]
        self._high = [max(pair) for pair in zip(self._high[::2], self._high[1::2], strict=True)]
        self._sum = [a + b for a, b in zip(self._sum[::2], self._sum[1::2], strict=True)]
        self._number = [a + b for a, b in zip(self._number[::2], self._number[1::2], strict=True)]
        self.width *= 2
        self._known.clear()

    def means(self) -> tuple[list[int], list[float]]:
        """The first step and the mean value of each bucket that has one."""
        steps = [self.base + at * self.width for at, number in enumerate(self._number) if number]
        values = [
            total / number for total, number in zip(self._sum, self._number, strict=True) if number
        ]
        return steps, values

    def columns(
        self, first: int, last: int, count: int, smoothing: float = 0.0
    ) -> tuple[Extent | None, ...]:
        """Lowest and highest per column; with ``smoothing``, of the smoothed means."""
        if smoothing > 0:
            steps, values = self.means()
            return columns(steps, smooth(values, smoothing), first, last, count)
        if count <= 0:
            return ()
        key = (first, last, count, self.width, self.base)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KEPT_COLUMNS:
                self._known.clear()
            known = self._known[key] = _Columns(first, last, count)
        # The newest bucket may have changed since: its column is made again.
        known.take(self.base, self.width, self._low, self._high, self._number)
        return tuple(known.extents)


class _Columns:
    """The columns of one chart over one range of steps, and how many buckets are in them."""

    def __init__(self, first: int, last: int, count: int) -> None:
        self.extents: list[Extent | None] = [None] * count
        self._first, self._last = first, last
        self._scale = (count - 1e-9) / (last - first) if last > first else 0.0
        self._taken = 0  # buckets before this one are in, and will not change

    def take(
        self, base: int, width: int, low: list[float], high: list[float], number: list[int]
    ) -> None:
        """Add the new buckets, and the last one again."""
        extents, top = self.extents, len(self.extents) - 1
        at = self._taken
        if at:
            # All buckets of the last one's column, which is emptied first.
            edge = self._column(base + (at - 1) * width, top)
            while at and self._column(base + (at - 1) * width, top) >= edge:
                at -= 1
            extents[edge:] = [None] * (len(extents) - edge)
        for bucket in range(at, len(number)):
            step = base + bucket * width
            if not number[bucket] or not self._first <= step <= self._last:
                continue
            column = self._column(step, top)
            have = extents[column]
            bottom, peak = low[bucket], high[bucket]
            if have is not None:
                bottom, peak = min(bottom, have[0]), max(peak, have[1])
            extents[column] = (bottom, peak)
        self._taken = len(number)

    def _column(self, step: int, top: int) -> int:
        return max(min(int((step - self._first) * self._scale), top), 0)
