"""The part of the x axis that all charts of a screen show together, and their cursor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tui.model.run import Axis, ChartData

AXES: Final[tuple[Axis, ...]] = ("step", "epoch", "time")
SMALLEST: Final = 4  # steps, or seconds


@dataclass(frozen=True, slots=True)
class Viewport:
    """As in :class:`ChartRequest`; ``cursor`` is a place on the x axis. Changes make a new one.

    They start from what was last requested, since its data may not have come yet.
    """

    axis: Axis = "step"
    width: float | None = None
    end: float | None = None
    cursor: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it shows the whole run and has no cursor."""
        return self.width is None and self.cursor is None

    def next_axis(self) -> Viewport:
        """The whole run over the next axis."""
        return Viewport(AXES[(AXES.index(self.axis) + 1) % len(AXES)])

    def zoomed(self, by: float, data: ChartData, at: float | None = None) -> Viewport:
        """``by`` times as much of the axis. What is at ``at`` (0 … 1 of the width) stays there.

        Without ``at`` the cursor stays, or else the newest value.
        """
        first, end = self._shown(data)
        begin, whole_end = data.whole
        width = max((end - first) * by, SMALLEST)
        if width >= whole_end - begin:
            return Viewport(self.axis, cursor=self.cursor)
        if at is None and self.cursor is not None and first <= self.cursor <= end:
            at = (self.cursor - first) / (end - first)
        if at is None:
            return replace(self, width=width)
        return self._ending(first + at * (end - first) + (1 - at) * width, width, data)

    def panned(self, by: float, data: ChartData) -> Viewport:
        """Moved right by ``by`` of what is shown."""
        if self.width is None:
            return self
        first, end = self._shown(data)
        return self._ending(end + by * (end - first), self.width, data)

    def moved(self, by: int, data: ChartData, columns: int) -> Viewport:
        """The cursor ``by`` of ``columns`` further right; it begins at the newest value."""
        first, end = data.first, data.end
        if self.cursor is None or not first <= self.cursor <= end:
            return self.at(min(data.last, end))
        wide = (end - first) / max(columns, 1) or 1
        # In the middle of its column, so that rounding never skips one.
        column = min(int((self.cursor - first) / wide + 1e-6), columns - 1) + by
        column = min(max(column, 0), columns - 1)
        return self.at(min(first + (column + 0.5) * wide, end))

    def at(self, cursor: float | None) -> Viewport:
        """The same with another cursor."""
        return replace(self, cursor=cursor)

    def _shown(self, data: ChartData) -> tuple[float, float]:
        if self.width is None:
            return data.whole
        # Not what `data` shows: that may be of an earlier request.
        return window(data.whole, data.last, self.width, self.end)

    def _ending(self, end: float, width: float, data: ChartData) -> Viewport:
        begin, whole_end = data.whole
        return replace(self, width=width, end=min(max(end, begin + width), whole_end))


def window(
    whole: tuple[float, float], last: float, width: float | None, end: float | None
) -> tuple[float, float]:
    """What a chart shows of a run, whose newest value is at ``last``.

    A part that follows the newest value moves in sixteenths, so that most columns stay.
    """
    begin, whole_end = whole
    if width is None or width >= whole_end - begin:
        return whole
    if end is None:
        by = width / 16
        end = begin - (begin - last) // by * by
    end = min(max(end, begin + width), whole_end)
    return end - width, end
