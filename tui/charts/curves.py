"""Charts and the lateness strip from a run's series, thinned as they grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from launcher.core.text.figures import duration, percent
from tui.charts.decimate import Extent
from tui.charts.thinned import Thinned
from tui.model.run import ChartData, ChartRequest, Curve, SkewData

if TYPE_CHECKING:
    from launcher.client import Series
    from launcher.core.run.state import EvalState

MAX_CURVES: Final = 8
LATE_SHARE: Final = 0.10  # of the typical work of a step
NEWEST: Final = 5  # reports that decide whether a rank is late now


SeriesOf = Callable[[int, str], "Series"]
"""One field of one rank over the whole run: ``launcher.client.RunReader.series``."""


class ChartMaker:
    """Keeps the thinned series, by rank and field."""

    def __init__(self, series: SeriesOf) -> None:
        self._series = series
        self._thinned: dict[tuple[int, str], Thinned] = {}
        self._seen: dict[tuple[int, str], Series] = {}
        self._made: dict[ChartRequest, tuple[object, ChartData]] = {}

    def chart(
        self, request: ChartRequest, ranks: int, evaluations: Sequence[EvalState]
    ) -> ChartData:
        """One chart, ready to draw. Fields that all ranks share are read from rank 0."""
        wanted = range(1) if request.mean_only else range(ranks)
        found = [(rank, self._of(rank, request.field)) for rank in wanted]
        known = [(rank, thinned) for rank, thinned in found if thinned.count]
        if not known:
            return ChartData(request.field)
        state = ([thinned.count for _, thinned in known], len(evaluations))
        made = self._made.get(request)
        if made is not None and made[0] == state:
            return made[1]
        if len(self._made) > 32:  # old sizes and smoothings
            self._made.clear()
        first = min(thinned.base for _, thinned in known)
        last = max(thinned.last_step for _, thinned in known)
        end = axis_end(first, last)
        curves = self._curves(request, known, first, end)
        span = max(end - first, 1)
        marks = tuple(
            ((entry.step - 1 - first) / span, "eval")
            for entry in evaluations
            if entry.step is not None and first < entry.step <= last + 1
        )
        chart = ChartData(request.field, first, last, end, curves, marks)
        self._made[request] = (state, chart)
        return chart

    def _of(self, rank: int, field: str) -> Thinned:
        thinned = self._thinned.setdefault((rank, field), Thinned())
        series = self._series(rank, field)
        # The reader returns the same object when nothing is new.
        if self._seen.get((rank, field)) is not series:
            self._seen[rank, field] = series
            thinned.update(series.steps, series.values)
        return thinned

    def _curves(
        self, request: ChartRequest, known: list[tuple[int, Thinned]], first: int, last: int
    ) -> tuple[Curve, ...]:
        curves = [
            Curve(
                "" if request.mean_only else f"r{rank}",
                thinned.columns(first, last, request.columns, request.smoothing),
                thinned.last,
            )
            for rank, thinned in known
        ]
        if len(curves) == 1:
            return tuple(curves)
        lasts = [curve.last for curve in curves if curve.last is not None]
        finite = [value for value in lasts if math.isfinite(value)]
        cells = [_spread([curve.columns[at] for curve in curves]) for at in range(request.columns)]

        def over_ranks(label: str, at: int, newest: float | None) -> Curve:
            return Curve(label, tuple(cell and (cell[at], cell[at]) for cell in cells), newest)

        mean = over_ranks("mean", 1, sum(finite) / len(finite) if finite else None)
        if len(curves) <= MAX_CURVES:
            return (mean, *curves)
        low = over_ranks("low", 0, min(finite, default=None))
        return (mean, low, over_ranks("high", 2, max(finite, default=None)))


def axis_end(first: int, last: int) -> int:
    """The end of an axis whose newest step is ``last``: up to a sixteenth of its length later.

    So the curves stay in place while steps come, and only their newest columns are redrawn.
    """
    span = last - first
    by = 1 << max((span // 16).bit_length() - 1, 0)
    return first + -(-span // by) * by


def _spread(cells: Sequence[Extent | None]) -> tuple[float, float, float] | None:
    """Lowest, mean and highest of one column, over the ranks."""
    known = [cell for cell in cells if cell is not None]
    if not known:
        return None
    mean = sum(cell[0] + cell[1] for cell in known) / (2 * len(known))
    return min(cell[0] for cell in known), mean, max(cell[1] for cell in known)


class SkewMaker:
    """Keeps the last strip, since most polls bring no new report."""

    def __init__(self, series: SeriesOf) -> None:
        self._series = series
        self._state: object = None
        self._made = SkewData()

    def strip(self, nodes: Sequence[str], bins: int) -> SkewData:
        """As :func:`skew`."""
        lengths = [len(self._series(rank, "busy_ms").steps) for rank in range(len(nodes))]
        state = (tuple(nodes), bins, lengths)
        if state != self._state:
            self._state, self._made = state, skew(self._series, nodes, bins)
        return self._made


def skew(series_of: SeriesOf, nodes: Sequence[str], bins: int) -> SkewData:
    """Lateness over the newest ``bins`` reports: own work of each rank against the median's.

    Step by step: one that is slow for all makes no rank late.

    ``nodes`` has each rank's node. Ranks wait for each other, so their step times are equal, and
    the work is the step time without the wait. Empty for one rank: nothing can be late.
    """
    ranks = len(nodes)
    if ranks < 2 or bins <= 0:
        return SkewData()
    recent: list[dict[int, float]] = []
    times: dict[int, float] = {}
    for rank in range(ranks):
        series = series_of(rank, "busy_ms")
        recent.append(dict(zip(series.steps[-bins:], series.values[-bins:], strict=True)))
        times.update(zip(series.steps[-bins:], series.times_s[-bins:], strict=True))
    steps = sorted(times)[-bins:]
    if not steps:
        return SkewData(tuple(range(ranks)), tuple(() for _ in range(ranks)))
    typical: dict[int, float] = {}
    for step in steps:
        values = [of_rank[step] for of_rank in recent if step in of_rank]
        known = sorted(value for value in values if math.isfinite(value))
        if len(known) > 1:
            # The lower median: two ranks are compared with the faster one, since against their
            # mean one would be half as late.
            typical[step] = known[(len(known) - 1) // 2]
    rows = tuple(
        tuple(
            values[step] / typical[step] - 1
            if step in values and typical.get(step, 0) > 0
            else None
            for step in steps
        )
        for values in recent
    )
    usual = median(list(typical.values())[-20:]) if typical else None
    slow = tuple(typical.get(step, 0) / usual - 1 if usual else 0.0 for step in steps)
    words, worst = late_words(rows, nodes, [times[step] for step in steps])
    return SkewData(tuple(range(ranks)), rows, slow, usual, words, worst)


def late_words(
    rows: Sequence[Sequence[float | None]], nodes: Sequence[str], times_s: Sequence[float]
) -> tuple[str, int | None]:
    """``rank 5 on node-b is 23 % late for 40 s`` and the rank; empty when no rank is late."""
    worst, share = None, LATE_SHARE
    for rank, row in enumerate(rows):
        newest = lateness(row)
        if newest is not None and newest > share:
            worst, share = rank, newest
    if worst is None:
        return "", None
    since = len(times_s) - 1
    while since > 0:
        before = rows[worst][since - 1]
        if before is not None and before < LATE_SHARE / 2:
            break
        since -= 1
    lasting = times_s[-1] - times_s[since] if times_s else 0.0
    words = f"rank {worst} on {nodes[worst]} is {percent(share)} late"
    return words + (f" for {duration(lasting)}" if lasting >= 1 else ""), worst


def lateness(row: Sequence[float | None]) -> float | None:
    """Of the newest reports, the median; ``None`` when there are too few."""
    newest = [value for value in row[-NEWEST:] if value is not None]
    return median(newest) if len(newest) >= 2 else None
