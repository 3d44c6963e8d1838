"""Charts and the lateness strip from a run's series, thinned as they grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

from launcher.core.text.figures import duration, percent
from tui.charts.decimate import Columns, Columnwise, Extent
from tui.charts.limits import limits_of
from tui.charts.thinned import Thinned, columns_of
from tui.charts.viewport import window
from tui.model.run import ChartData, ChartRequest, Curve, SkewData

if TYPE_CHECKING:
    from launcher.client import RunSnapshot, Series
    from launcher.core.run.state import EvalState

MAX_CURVES: Final = 8
MAX_CHARTED: Final = 64
SAMPLED: Final = 32
"""Of more ranks than `MAX_CHARTED`, so many are in charts: reading and drawing the curves of a
thousand takes seconds for each step."""
TIME_UNIT_S: Final = 1 / 16
LATE_SHARE: Final = 0.10  # of the typical work of a step
NEWEST: Final = 5  # reports that decide whether a rank is late now


SeriesOf = Callable[[int, str], "Series"]
"""One field of one rank over the whole run: ``launcher.client.RunReader.series``."""


Spreads = Columnwise[tuple[float, float, float] | None]


class ChartMaker:
    """Keeps the thinned series, by rank, field and axis."""

    def __init__(self, series: SeriesOf) -> None:
        self._series = series
        self._lines: dict[tuple[int, str, bool], _Line] = {}
        self._made: dict[ChartRequest, tuple[object, ChartData]] = {}
        self._spreads: dict[ChartRequest, tuple[Spreads, Spreads]] = {}

    def chart(
        self, request: ChartRequest, run: RunSnapshot, evaluations: Sequence[EvalState]
    ) -> ChartData:
        """One chart, ready to draw. Fields that all ranks share are read from rank 0."""
        by_time = request.axis == "time"
        some = charted(len(run.ranks))
        is_all = len(some) == len(run.ranks)
        request = replace(request, ranks=() if is_all else request.ranks)
        wanted = range(1) if request.mean_only else sorted({*some, *request.ranks})
        lines = [self._line(rank, request.field, by_time) for rank in wanted]
        lines = [line for line in lines if line.thinned.count]
        if not lines or request.columns <= 0:
            return ChartData(request.field, axis=request.axis)
        known = len(run.state.attempts), len(run.state.checkpoints), len(evaluations)
        state = ([line.thinned.count for line in lines], known, run.steps_per_epoch)
        made = self._made.get(request)
        if made is not None and made[0] == state:
            return made[1]
        if len(self._made) > 32:  # old sizes, smoothings and parts
            self._made.clear()
            self._spreads.clear()
        if request not in self._spreads:
            self._spreads[request] = Columnwise(_spread), Columnwise(_spread)
        origin = (run.created_s or 0.0) if by_time else 0
        base = min(line.thinned.base for line in lines)
        last = max(line.thinned.last_place for line in lines)
        right = None if request.end is None else request.end + origin
        whole = base, axis_end(base, last)
        first, end = window(whole, last, request.width, right)
        places = marked_places(run, evaluations)
        shown = [(kind, time_s if by_time else step) for kind, step, time_s in places]
        shown += [("not finite", place) for line in lines for place in line.thinned.not_finite]
        span = (end - first) or 1
        chart = ChartData(
            request.field, first - origin, last - origin, end - origin,
            _curves(request, lines, first, end, self._spreads[request], None if is_all else some),
            tuple(((at - first) / span, kind) for kind, at in shown if first <= at <= end),
            request.axis, run.steps_per_epoch, (whole[0] - origin, whole[1] - origin),
        )  # fmt: skip
        self._made[request] = (state, chart)
        return chart

    def _line(self, rank: int, field: str, by_time: bool) -> _Line:
        key = rank, field, by_time
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(rank, by_time)
        line.update(self._series(rank, field))
        return line


def charted(ranks: int) -> range:
    """The ranks whose curves are in charts: all, or of very many some at equal distances."""
    return range(0, ranks, 1 if ranks <= MAX_CHARTED else ranks // SAMPLED)


class _Line:
    """One series over steps or times."""

    def __init__(self, rank: int, by_time: bool) -> None:
        self.rank = rank
        self.thinned = Thinned(TIME_UNIT_S if by_time else 1)
        self._by_time = by_time
        self._series: Series | None = None
        self._places: Sequence[float] = ()

    def update(self, series: Series) -> None:
        # The reader returns the same object when nothing is new.
        if series is not self._series:
            self._series = series
            self._places = series.times_s if self._by_time else series.steps
            self.thinned.update(self._places, series.values)

    def columns(self, first: float, end: float, count: int) -> tuple[Extent | None, ...]:
        """From the buckets, or where they are too wide from the series itself."""
        thinned = self.thinned
        if thinned.width > thinned.unit and thinned.width * count > end - first and self._series:
            return columns_of(self._places, self._series.values, first, end, count)
        return thinned.columns(first, end, count)


def marked_places(
    run: RunSnapshot, evaluations: Sequence[EvalState]
) -> list[tuple[str, int, float]]:
    """What charts mark: its kind, the step before which it was, and its Unix time."""
    state = run.state
    places = [
        ("attempt", step, item.started_s)
        for item in state.attempts[1:]
        if (step := item.resume.step if item.resume else 0) is not None
    ]
    places += [("eval", max(item.step - 1, 0), item.time_s) for item in evaluations if item.step]
    return places + [
        ("checkpoint", max(item.step - 1, 0), item.time_s) for item in state.checkpoints
    ]


def _curves(
    request: ChartRequest,
    lines: Sequence[_Line],
    first: float,
    end: float,
    spreads: tuple[Spreads, Spreads],
    some: range | None,
) -> tuple[Curve, ...]:
    """The ranks' curves; of several ranks first their mean, of many also lowest and highest.

    ``some``: the ranks that these three are of, where not all ranks have a curve.
    """
    count, weight = request.columns, request.smoothing
    curves = []
    raws = [line.columns(first, end, count) for line in lines]
    # What lies outside would pull the smoothed curve along for long.
    limits = limits_of(raws) if weight else None
    for line, raw in zip(lines, raws, strict=True):
        smoothed = raw
        if limits is not None:
            smoothed = line.thinned.smoothed(first, end, count, weight, limits)
        label, rank = ("", None) if request.mean_only else (f"r{line.rank}", line.rank)
        curves.append(Curve(label, smoothed, line.thinned.last, raw if limits else (), rank))
    if len(curves) == 1:
        return tuple(curves)
    known = [curve for curve in curves if some is None or curve.rank in some]
    lasts = [curve.last for curve in known if curve.last is not None]
    finite = [value for value in lasts if math.isfinite(value)]
    cells = spreads[0](curve.columns for curve in known)
    rough = spreads[1](curve.raw for curve in known)

    def over_ranks(label: str, at: int, newest: float | None) -> Curve:
        columns = tuple(cell and (cell[at], cell[at]) for cell in cells)
        if not label.startswith("mean"):
            return Curve(label, columns, newest, is_context=True)
        return Curve(label, columns, newest, tuple(cell and (cell[at], cell[at]) for cell in rough))

    mean = over_ranks(
        "mean" if some is None else f"mean of {len(known)}",
        1,
        sum(finite) / len(finite) if finite else None,
    )
    if len(curves) <= MAX_CURVES:
        return (mean, *curves)
    low = over_ranks("low", 0, min(finite, default=None))
    return (mean, low, over_ranks("high", 2, max(finite, default=None)), *curves)


def axis_end(first: float, last: float) -> float:
    """The end of an axis whose newest value is at ``last``: up to a sixteenth of its length later.

    So the curves stay in place while steps come, and only their newest columns are redrawn.
    """
    span = last - first
    by = 1 << max((int(span) // 16).bit_length() - 1, 0)
    return first + -(-span // by) * by


def _spread(cells: Columns) -> tuple[float, float, float] | None:
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
