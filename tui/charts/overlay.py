"""Several runs in one chart: a curve for each, over steps or the time since each was created."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tui.charts.curves import TIME_UNIT_S, axis_end
from tui.charts.limits import limits_of
from tui.charts.thinned import Thinned
from tui.charts.viewport import window
from tui.model.run import ChartData, ChartRequest, Curve

if TYPE_CHECKING:
    from launcher.client import Series

SeriesOf = Callable[[str], "Series"]
"""One field of one run."""


class OverlayMaker:
    """Keeps the thinned series, by run, field and axis. ``origins``: when each was created."""

    def __init__(
        self, names: Sequence[str], series: Sequence[SeriesOf], origins: Sequence[float]
    ) -> None:
        self._runs = list(zip(names, series, origins, strict=True))
        self._thinned: dict[tuple[str, str, bool], Thinned] = {}
        self._seen: dict[tuple[str, str, bool], Series] = {}

    def chart(self, request: ChartRequest) -> ChartData:
        """One chart, ready to draw; runs without a value have no curve."""
        by_time = request.axis == "time"
        lines = [
            (name, self._line(name, series, request.field, origin if by_time else None))
            for name, series, origin in self._runs
        ]
        known = [line for _, line in lines if line.count]
        if not known or request.columns <= 0:
            return ChartData(request.field, axis=request.axis)
        base, last = min(line.base for line in known), max(line.last_place for line in known)
        whole = base, axis_end(base, last)
        first, end = window(whole, last, request.width, request.end)
        columns = [line.columns(first, end, request.columns) for line in known]
        limits = limits_of(columns) if request.smoothing else None
        curves = []
        # Every run keeps its colour, which follows from its place.
        for name, line in lines:
            raw = line.columns(first, end, request.columns)
            smoothed = raw
            if limits is not None:
                smoothed = line.smoothed(first, end, request.columns, request.smoothing, limits)
            curves.append(Curve(name, smoothed, line.last, raw if limits else ()))
        return ChartData(
            request.field, first, last, end, tuple(curves), (), request.axis, None, whole
        )

    def _line(self, name: str, series_of: SeriesOf, field: str, origin: float | None) -> Thinned:
        key = name, field, origin is not None
        thinned = self._thinned.setdefault(key, Thinned(1 if origin is None else TIME_UNIT_S))
        series = series_of(field)
        if self._seen.get(key) is not series:
            self._seen[key] = series
            places: Sequence[float] = series.steps
            if origin is not None:
                places = [time_s - origin for time_s in series.times_s]
            thinned.update(places, series.values)
        return thinned
