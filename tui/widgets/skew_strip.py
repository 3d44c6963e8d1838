"""Rank × time: which ranks are late to the all-reduce, and since when."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from rich.segment import Segment

from launcher.core.text.figures import milliseconds
from tui.drawing.text import clean, fit
from tui.model.run import SkewData
from tui.widgets.edges import EdgeView
from tui.widgets.lines import Line, bar

LABEL_WIDTH: Final = 5
# Lateness as a share of the typical step: below the first it is noise.
LIMITS: Final = (0.05, 0.10, 0.20, 0.40)


def heat(late_ms: float | None, typical_ms: float | None) -> int | None:
    """0 (on time) … 4 (very late), or ``None`` where nothing is known."""
    if late_ms is None or not typical_ms or typical_ms <= 0:
        return None
    share = late_ms / typical_ms
    return sum(share >= limit for limit in LIMITS)


class SkewStrip(EdgeView):
    """The strip; the newest bin is at the right."""

    def __init__(self, *, beside: bool = False, id: str) -> None:
        super().__init__(id=id)
        self.edge = "left" if beside else "top"  # the one next to the ranks
        self._data = SkewData()

    @property
    def bins_wanted(self) -> int:
        """How many time bins fit; 0 while it is hidden."""
        return max(self.content_size.width - LABEL_WIDTH - 1, 0) if self.display else 0

    def show(self, data: SkewData) -> None:
        self._data = data
        self.draw()

    def draw(self) -> None:
        width, height = self.content_size
        if width <= LABEL_WIDTH + 2 or height < 2:
            self.set_lines([])
            return
        palette, data = self.palette, self._data
        words = clean(data.words) or "no rank is late"
        if data.typical_ms is None:
            words = "not enough reports yet"
        title = "who is late "
        late = bool(data.words) and data.typical_ms is not None
        style = palette.warn if late else palette.muted
        head = [Segment(title, palette.title), Segment(fit(words, width - len(title)), style)]
        lines: list[Line] = [bar(head, width, palette.bar)]
        rows = list(zip(data.ranks, data.bins, strict=True))
        shown = rows[: height - 2] if len(rows) > height - 1 else rows
        for rank, bins in shown:
            lines.append(self._row(rank, bins[-(width - LABEL_WIDTH - 1) :]))
        if len(rows) > len(shown):
            lines.append([Segment(f"{'':5} {len(rows) - len(shown)} more", palette.muted)])
        elif len(lines) < height:
            lines.append(self._legend(width))
        self.set_lines(lines)

    def _row(self, rank: int, bins: tuple[float | None, ...]) -> Line:
        palette, glyphs, typical = self.palette, self.glyphs, self._data.typical_ms
        line = [Segment(f"{rank:>{LABEL_WIDTH}} ", palette.muted)]
        for level, same in groupby(heat(value, typical) for value in bins):
            mark = " " if level is None else glyphs.shades[level]
            style = palette.muted if level is None else palette.heat[level]
            line.append(Segment(mark * len(list(same)), style))
        return line

    def _legend(self, width: int) -> Line:
        palette, shades = self.palette, self.glyphs.shades
        typical = milliseconds(self._data.typical_ms)
        line = [Segment(f"{'':{LABEL_WIDTH}} ")]
        for index, text in enumerate(("on time", "5 %", "10 %", "20 %", "40 %")):
            line.append(Segment(shades[index], palette.heat[index]))
            line.append(Segment(f" {text}  ", palette.muted))
        line.append(Segment(f"of {typical}", palette.muted))
        return line
