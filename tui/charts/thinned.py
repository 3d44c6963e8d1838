"""A series of any length in a bounded number of buckets; adding a point does not read old ones."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import Final, TypeVar

from tui.charts.decimate import Extent, smooth
from tui.charts.limits import Limits

N = TypeVar("N", int, float)
LIMIT: Final = 2048
MARKED: Final = 256
KEPT_COLUMNS: Final = 4  # sizes in which a series is on the screen


class Thinned:
    """Buckets of equal width on the x axis, each with its lowest, highest and mean value.

    ``unit`` is their first width. When a series needs more than ``LIMIT`` buckets, neighbours are
    merged and buckets become twice as wide, so that a run of 65 h costs as much as one of an hour.
    """

    def __init__(self, unit: float = 1) -> None:
        self.unit = unit
        self.clear()

    def clear(self) -> None:
        self.count = 0  # points of the series so far
        self.base: float = 0
        self.width = self.unit
        self.last_place: float = 0
        self.last: float | None = None
        self.not_finite: deque[float] = deque(maxlen=MARKED)  # the newest places
        self._low: list[float] = []
        self._high: list[float] = []
        self._sum: list[float] = []
        self._number: list[int] = []
        self._known: dict[tuple[float, ...], _Columns] = {}

    def update(self, places: Sequence[float], values: Sequence[float]) -> None:
        """Add what is new in a series over steps or times, which do not decrease.

        A series that does not continue the last one replaces it.
        """
        is_longer = len(places) >= self.count and (
            self.count == 0
            or (places[0] == self.base and places[self.count - 1] == self.last_place)
        )
        if not is_longer:
            self.clear()
        for at in range(self.count, len(places)):
            self._add(places[at], values[at])
        self.count = len(places)
        if places:
            self.last_place = places[-1]
            self.last = values[-1]

    def _add(self, place: float, value: float) -> None:
        if not self._low and self.count == 0 and not self._number:
            self.base = place
        if not math.isfinite(value):
            self.not_finite.append(place)
            return
        at = self._bucket(place)
        while at >= LIMIT:
            self._merge()
            at = self._bucket(place)
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

    def _bucket(self, place: float) -> int:
        return max(int((place - self.base) // self.width), 0)  # a clock may be set back

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

    def smoothed(
        self, first: float, last: float, count: int, weight: float, limits: Limits
    ) -> tuple[Extent | None, ...]:
        """As :meth:`columns`, of the smoothed means; what lies outside counts as the limit."""
        low, high = limits.low, limits.high
        means = smooth([min(max(mean, low), high) for mean in self.means()], weight)
        columns = _Columns(first, last, count)
        columns.add(self.base, self.width, means, means, self._number)
        return tuple(columns.extents)

    def columns(self, first: float, last: float, count: int) -> tuple[Extent | None, ...]:
        """Lowest and highest of each of ``count`` columns over ``first … last``.

        ``None`` where nothing was reported.
        """
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
    """The columns of one chart over one range, and how many buckets are in them."""

    def __init__(self, first: float, last: float, count: int) -> None:
        self.extents: list[Extent | None] = [None] * count
        self._first, self._last = first, last
        self._scale = (count - 1e-9) / (last - first) if last > first else 0.0
        self._added = 0  # buckets before this one are in, and do not change

    def add(
        self, base: float, width: float, low: list[float], high: list[float], number: list[int]
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
            place = base + bucket * width
            if not number[bucket] or not self._first <= place <= self._last:
                continue
            column = self._column(place, top)
            have = extents[column]
            bottom, peak = low[bucket], high[bucket]
            if have is not None:
                bottom, peak = min(bottom, have[0]), max(peak, have[1])
            extents[column] = (bottom, peak)
        self._added = len(number)

    def _column(self, place: float, top: int) -> int:
        return max(min(int((place - self._first) * self._scale), top), 0)


def columns_of(
    places: Sequence[float], values: Sequence[float], first: float, last: float, count: int
) -> tuple[Extent | None, ...]:
    """As :meth:`Thinned.columns`, from the series itself: for a part finer than the buckets."""
    edges = [bisect_left(places, first + (last - first) * at / count) for at in range(count)]
    edges.append(bisect_right(places, last))
    found: list[Extent | None] = []
    for begin, end in pairwise(edges):
        part = values[begin:end]
        if not len(part):
            found.append(None)
            continue
        extent = min(part), max(part)
        if not (math.isfinite(extent[0]) and math.isfinite(extent[1])):
            finite = [value for value in part if math.isfinite(value)]
            found.append((min(finite), max(finite)) if finite else None)
            continue
        found.append(extent)
    return tuple(found)
