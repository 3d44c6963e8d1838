"""A series of any length in a bounded number of buckets; adding a point does not read old ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final, TypeVar

from tui.charts.decimate import Extent, smooth

N = TypeVar("N", int, float)
LIMIT: Final = 2048
KEPT_COLUMNS: Final = 4  # sizes in which a series is on the screen


class Thinned:
    """Buckets of equal width in steps, each with its lowest, highest and mean value.

    When a series needs more than ``LIMIT`` buckets, neighbours are merged and buckets become twice
    as wide, so that a run of 65 h costs as much as one of an hour.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count = 0  # points of the series so far
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
            self._add(steps[at], values[at])
        self.count = len(steps)
        if steps:
            self.last_step = steps[-1]
            self.last = values[-1]

    def _add(self, step: int, value: float) -> None:
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
        self._low = _merged(self._low, math.inf, min)
        self._high = _merged(self._high, -math.inf, max)
        self._sum = _merged(self._sum, 0.0, sum)
        self._number = _merged(self._number, 0, sum)
        self.width *= 2
        self._known.clear()

    def means(self) -> list[float]:
        """The mean of each bucket; NaN where nothing was reported."""
        pairs = zip(self._sum, self._number, strict=True)
        return [total / number if number else math.nan for total, number in pairs]

    def columns(
        self, first: int, last: int, count: int, smoothing: float = 0.0
    ) -> tuple[Extent | None, ...]:
        """Lowest and highest of each of ``count`` columns over steps ``first … last``.

        ``None`` where nothing was reported. With ``smoothing``: of the smoothed means.
        """
        if smoothing > 0:
            smoothed = _Columns(first, last, count)
            means = smooth(self.means(), smoothing)
            smoothed.add(self.base, self.width, means, means, self._number)
            return tuple(smoothed.extents)
        key = (first, last, count, self.width, self.base)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KEPT_COLUMNS:
                self._known.clear()
            known = self._known[key] = _Columns(first, last, count)
        # The newest bucket may have changed, so its column is made again.
        known.add(self.base, self.width, self._low, self._high, self._number)
        return tuple(known.extents)


def _merged(values: Sequence[N], empty: N, join: Callable[[tuple[N, N]], N]) -> list[N]:
    """Each pair of neighbours as one; a last one without a neighbour is joined with ``empty``."""
    return [join(pair) for pair in zip_longest(values[::2], values[1::2], fillvalue=empty)]


class _Columns:
    """The columns of one chart over one range of steps, and how many buckets are in them."""

    def __init__(self, first: int, last: int, count: int) -> None:
        self.extents: list[Extent | None] = [None] * count
        self._first, self._last = first, last
        self._scale = (count - 1e-9) / (last - first) if last > first else 0.0
        self._added = 0  # buckets before this one are in, and do not change

    def add(
        self, base: int, width: int, low: list[float], high: list[float], number: list[int]
    ) -> None:
        """Add the new buckets, and the last one again."""
        extents, top = self.extents, len(self.extents) - 1
        at = self._added
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
        self._added = len(number)

    def _column(self, step: int, top: int) -> int:
        return max(min(int((step - self._first) * self._scale), top), 0)
