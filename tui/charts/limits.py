"""The y limits of a chart: few values far from all others do not decide them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tui.charts.decimate import Columns, Columnwise, Extent

OUTLIERS: Final = 0.10  # share of the columns that may lie outside, at least one
GAP: Final = 3.0
"""Values are outside when the gap to them is so many times the height of all others."""
FLAT: Final = 0.10  # of a value: what counts as height where all are equal


@dataclass(frozen=True, slots=True)
class Limits:
    """``low … high`` and, by column, what lies outside."""

    low: float
    high: float
    above: tuple[tuple[int, float], ...] = ()
    below: tuple[tuple[int, float], ...] = ()


def _ends(column: Columns) -> Extent | None:
    known = [extent for extent in column if extent is not None]
    if not known:
        return None
    return min(extent[0] for extent in known), max(extent[1] for extent in known)


def _positive_ends(column: Columns) -> Extent | None:
    return _ends(
        [(low if low > 0 else high, high) for low, high in filter(None, column) if high > 0]
    )


class LimitFinder:
    """The limits of a chart, frame by frame.

    On a logarithmic scale only positive values count, and none lies outside: there even a value
    that is a hundred times as large leaves room for the others.
    """

    def __init__(self, log: bool = False) -> None:
        self._log = log
        self._ends = Columnwise(_positive_ends if log else _ends)

    def __call__(self, curves: Sequence[Columns]) -> Limits | None:
        """The limits for these curves, rounded outwards; ``None`` without a value."""
        return _limits(self._ends(curves), self._log)


def limits_of(curves: Sequence[Columns], log: bool = False) -> Limits | None:
    """As :class:`LimitFinder`, once."""
    return LimitFinder(log)(curves)


def _limits(ends: Sequence[Extent | None], log: bool) -> Limits | None:
    ups = sorted(extent[1] for extent in ends if extent is not None)
    downs = sorted(extent[0] for extent in ends if extent is not None)
    if not ups:
        return None
    if log:
        return Limits(downs[0], ups[-1])
    high = _edge(ups, downs[_outliers(downs)])
    low = -_edge([-value for value in reversed(downs)], -ups[-1 - _outliers(ups)])
    above = tuple((at, extent[1]) for at, extent in enumerate(ends) if extent and extent[1] > high)
    below = tuple((at, extent[0]) for at, extent in enumerate(ends) if extent and extent[0] < low)
    return Limits(*_rounded(low, high), above, below)


def _outliers(values: Sequence[float]) -> int:
    """How many of these may lie outside; none of three."""
    return max(math.ceil(len(values) * OUTLIERS), 1) if len(values) > 3 else 0


def _edge(values: Sequence[float], low: float) -> float:
    """The largest of sorted ``values`` below a gap that takes most of the height above ``low``."""
    edge = values[-1]
    last = len(values) - 1
    for at in range(last, last - _outliers(values), -1):
        below = values[at - 1]
        height = max(below - low, abs(below) * FLAT)
        if height and values[at] - below > GAP * height:
            edge = below
    return edge


def _rounded(low: float, high: float) -> Extent:
    """Outwards to two digits of their distance, so that not every value moves them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return low, high
    unit = 10.0 ** (math.floor(math.log10(span)) - 1)
    if unit == 0 or abs(high) / unit > 1e12:
        return low, high
    return math.floor(low / unit + 1e-6) * unit, math.ceil(high / unit - 1e-6) * unit
