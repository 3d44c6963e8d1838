"""Rank × time: which ranks are late to the all-reduce, and since when."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from rich.segment import Segment

from launcher.core.text.figures import percent
from tui.charts.curves import lateness
from tui.drawing.text import clean, fit
from tui.model.run import SkewData
from tui.widgets.edges import EdgeView
from tui.widgets.lines import Line, bar

LABEL_WIDTH: Final = 5
# Lateness as a share of the step: below the first it is noise.
LIMITS: Final = (0.05, 0.10, 0.20, 0.40)
SLOW: Final = 0.20
"""A step that takes all ranks so much longer than usual is slow."""
SLOW_MARK: Final = "-"


def heat(share: float | None) -> int | None:
    """0 (on time) … 4 (very late), or ``None`` where nothing is known."""
    return None if share is None else sum(share >= limit for limit in LIMITS)


def worst_first(data: SkewData) -> list[int]:
    """Indices into ``data.ranks``: without a newest report, then by lateness, then by rank."""

    def key(at: int) -> tuple[bool, float, int]:
        late = lateness(data.bins[at])
        return late is not None, -(late or 0.0), at

    return sorted(range(len(data.ranks)), key=key)


class SkewStrip(EdgeView):
    """The strip; the newest bin is at the right.

    Beside the table it has the table's ranks, line by line. Elsewhere, without room for all, the
    worst come first.
    """

    def __init__(self, *, beside: bool = False, id: str) -> None:
        super().__init__(id=id)
        self.edge = "left" if beside else "top"  # the one next to the ranks
        self._data = SkewData()
        self._ranks: tuple[int, ...] = ()  # those of the table beside, by line

    @property
    def bins_wanted(self) -> int:
        """How many time bins fit; 0 while it is hidden."""
        return max(self.content_size.width - LABEL_WIDTH - 1, 0) if self.display else 0

    def show(self, data: SkewData) -> None:
        if data != self._data:
            self._data = data
            self.draw()

    def follow(self, ranks: tuple[int, ...]) -> None:
        """The ranks on the lines of the table beside it."""
        if ranks != self._ranks:
            self._ranks = ranks
            self.draw()

    def _shown(self, room: int) -> list[int]:
        """Indices into the data's ranks, for so many lines."""
        data = self._data
        if self.edge == "left" and self._ranks:
            rows = {rank: at for at, rank in enumerate(data.ranks)}
            return [rows[rank] for rank in self._ranks if rank in rows][:room]
        if len(data.ranks) <= room:
            return list(range(len(data.ranks)))
        return worst_first(data)[: room - 1]

    def draw(self) -> None:
        width, height = self.content_size
        if width <= LABEL_WIDTH + 2 or height < 2:
            self.set_lines([])
            return
        palette, data = self.palette, self._data
        words = clean(data.words) or "no rank is late"
        if not data.words and (slow := lateness(data.slow)) is not None and slow >= SLOW:
            words = f"no rank is late: all are slow, {percent(slow)} over the usual step"
        if data.typical_ms is None:
            words = "not enough reports yet"
        title = "who is late "
        late = bool(data.words) and data.typical_ms is not None
        style = palette.warn if late else palette.muted
        head = [Segment(title, palette.title), Segment(fit(words, width - len(title)), style)]
        lines: list[Line] = [bar(head, width, palette.bar)]
        shown = self._shown(height - 1)
        room = width - LABEL_WIDTH - 1
        lines += [
            self._row(data.ranks[at], data.bins[at][-room:], data.slow[-room:]) for at in shown
        ]
        hidden = len(data.ranks) - len(shown)
        if hidden and len(lines) < height:
            text = f"{'':5} the worst first; {hidden} more"
            lines.append([Segment(fit(text, width), palette.muted)])
        elif len(lines) < height:
            lines.append(self._legend(width))
        self.set_lines(lines)

    def _row(self, rank: int, bins: tuple[float | None, ...], slow: tuple[float, ...]) -> Line:
        palette, glyphs = self.palette, self.glyphs
        line = [Segment(f"{rank:>{LABEL_WIDTH}} ", palette.muted)]
        cells = [(heat(late), by >= SLOW) for late, by in zip(bins, slow, strict=True)]
        for (level, is_slow), same in groupby(cells):
            mark = " " if level is None else glyphs.shades[level]
            style = palette.muted if level is None else palette.heat[level]
            if is_slow and level == 0:
                mark, style = SLOW_MARK, palette.muted
            line.append(Segment(mark * len(list(same)), style))
        return line

    def _legend(self, width: int) -> Line:
        palette, shades = self.palette, self.glyphs.shades
        line = [Segment(f"{'':{LABEL_WIDTH}} ")]
        for index, text in enumerate(("on time", "5 %", "10 %", "20 %", "40 % late")):
            line.append(Segment(shades[index], palette.heat[index]))
            line.append(Segment(f" {text}  ", palette.muted))
        line.append(Segment(f"{SLOW_MARK} step slow for all", palette.muted))
        return line
