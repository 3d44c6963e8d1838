"""A chart's columns: their bounds, gaps and smoothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Extent = tuple[float, float]


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without start bias; gaps (NaN) stay gaps.

    ``weight`` is the share of the past, above 0 and below 1.
    """
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


def bridged(cells: Sequence[Extent | None]) -> tuple[Extent | None, ...]:
    """Empty columns between two points of a sparse series get a value on the line between them.

    A gap much wider than the usual distance stays a gap: reports are missing there.
    """
    known = [at for at, extent in enumerate(cells) if extent is not None]
    if len(known) < 2 or len(known) == len(cells):
        return tuple(cells)
    gaps = sorted(after - before for before, after in pairwise(known))
    widest = 2 * gaps[len(gaps) // 2] + 1
    result = list(cells)
    for before, after in pairwise(known):
        left, right = cells[before], cells[after]
        if after - before > widest or left is None or right is None:
            continue
        first, last = sum(left) / 2, sum(right) / 2
        for at in range(before + 1, after):
            value = first + (last - first) * (at - before) / (after - before)
            result[at] = (value, value)
    return tuple(result)


def without_spikes(extents: Sequence[Sequence[Extent | None]], span: Extent) -> Extent:
    """``span`` with its top lowered when a few columns are far above all others.

    A first step that compiles takes twenty times as long, and would flatten all others. The new
    top is rounded to two digits, so that it does not move with every value.
    """
    tops = sorted(extent[1] for curve in extents for extent in curve if extent is not None)
    if len(tops) < 20:
        return span
    usual = tops[int(len(tops) * 0.95)]
    low, high = span
    limit = _rounded_up(usual + max(usual - low, abs(usual) * 0.1))
    return (low, limit) if high > low + 3 * (limit - low) else span


def _rounded_up(value: float) -> float:
    """To two digits; 0 and less as they are."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit - 1e-9) * unit
