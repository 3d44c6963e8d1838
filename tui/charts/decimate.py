"""A chart's columns: their gaps and smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, zip_longest
from typing import Generic, TypeVar

Extent = tuple[float, float]
Columns = Sequence[Extent | None]
T = TypeVar("T")


class Columnwise(Generic[T]):
    """Applies ``work`` to each column of several curves; unchanged columns keep their result.

    Each new step changes one column, and the charts are most of what a frame costs.
    """

    def __init__(self, work: Callable[[Columns], T]) -> None:
        self._work = work
        self._columns: list[Columns] = []
        self._results: list[T] = []

    def __call__(self, curves: Iterable[Columns]) -> list[T]:
        columns: list[Columns] = list(zip_longest(*curves))
        work = self._work
        if len(columns) == len(self._columns):
            known = zip(columns, self._columns, self._results, strict=True)
            self._results = [
                result if column == before else work(column) for column, before, result in known
            ]
        else:
            self._results = [work(column) for column in columns]
        self._columns = columns
        return self._results


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
