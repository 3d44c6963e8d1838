"""From a long series to a chart's columns: extremes are kept, never averaged away."""

from __future__ import annotations

import math
from collections.abc import Sequence

Extent = tuple[float, float]


def columns(
    steps: Sequence[float], values: Sequence[float], first: float, last: float, count: int
) -> tuple[Extent | None, ...]:
    """``(low, high)`` of each of ``count`` columns over steps ``first … last``.

    A column without a finite value is ``None``. ``steps`` must not decrease; O(len(steps)).
    """
    if count <= 0:
        return ()
    result: list[Extent | None] = [None] * count
    span = max(last - first, 1e-12)
    scale = (count - 1e-9) / span if last > first else 0.0
    for step, value in zip(steps, values, strict=True):
        if step < first or step > last or not math.isfinite(value):
            continue
        at = min(int((step - first) * scale), count - 1)
        have = result[at]
        if have is None:
            result[at] = (value, value)
        elif value < have[0]:
            result[at] = (value, have[1])
        elif value > have[1]:
            result[at] = (have[0], value)
    return tuple(result)


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without start bias; gaps (NaN) stay gaps.

    ``weight`` is the share of the past, 0 (off) … below 1.
    """
    if weight <= 0:
        return list(values)
    result: list[float] = []
    mean, norm = 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            result.append(math.nan)
            continue
        mean = weight * mean + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        result.append(mean / norm)
    return result


def bounds(extents: Sequence[Sequence[Extent | None]], log: bool) -> Extent | None:
    """The lowest and highest value over all curves; positive ones only when ``log``."""
    low, high = math.inf, -math.inf
    for curve in extents:
        for extent in curve:
            if extent is None:
                continue
            small, large = extent
            if log:
                if large <= 0:
                    continue
                small = small if small > 0 else large
            low, high = min(low, small), max(high, large)
    if low > high:
        return None
    return low, high
