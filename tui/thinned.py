"""A series of any length in a bounded number of buckets: new points cost only themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tui.decimate import Extent, columns, smooth

LIMIT: Final = 2048


class Thinned:
    """Buckets of equal width in steps, each with its lowest, highest and mean value.

    When a series outgrows ``LIMIT`` buckets, neighbours are merged and buckets become twice as
    wide, so that a run of 65 h costs what one of an hour costs.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0  # points taken in
        self.base = 0
        self.width = 1
        self.last_step = 0
        self.last: float | None = None
        self._low: list[float] = []
        self._high: list[float] = []
        self._sum: list[float] = []
        self._number: list[int] = []

    def update(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """Take in a series that is the one of the last call, longer; another one starts anew."""
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
        steps, values = self.means()
        if smoothing > 0:
            return columns(steps, smooth(values, smoothing), first, last, count)
        lows = [low for low, number in zip(self._low, self._number, strict=True) if number]
        highs = [high for high, number in zip(self._high, self._number, strict=True) if number]
        if self.width == 1:
            return columns(steps, lows, first, last, count)
        bottom = columns(steps, lows, first, last, count)
        top = columns(steps, highs, first, last, count)
        return tuple(
            None if low is None or high is None else (low[0], high[1])
            for low, high in zip(bottom, top, strict=True)
        )
