"""Curves into characters: a grid of cells; in each, the curve that was drawn last is visible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui.charts.decimate import Extent
from tui.drawing.glyphs import Glyphs

# Braille dots by (column, row) within a cell of 2 × 4.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True, slots=True)
class Cell:
    """A drawn cell: its character and the index of the curve that it belongs to."""

    text: str
    curve: int


def sub_columns(glyphs: Glyphs) -> int:
    """How many values side by side one cell can show."""
    return 2 if glyphs.level == "braille" else 1


class Canvas:
    """``width`` × ``height`` cells over values ``low … high`` (logarithmic when ``log``)."""

    def __init__(
        self, width: int, height: int, low: float, high: float, log: bool, glyphs: Glyphs
    ) -> None:
        self.width, self.height, self._log, self._glyphs = width, height, log, glyphs
        self._low = math.log10(low) if log else low
        top = math.log10(high) if log else high
        self._span = (top - self._low) or 1.0
        self.cells: list[list[Cell | None]] = [[None] * width for _ in range(height)]
        self._dots: dict[tuple[int, int], int] = {}
        self._shown: list[Sequence[Extent | None]] = []

    def level(self, value: float) -> float:
        """0 (bottom) … 1 (top) of a value; clamped."""
        if self._log:
            if value <= 0:
                return 0.0
            value = math.log10(value)
        return min(max((value - self._low) / self._span, 0.0), 1.0)

    def show(self, curves: Sequence[Sequence[Extent | None]]) -> set[int]:
        """Show these curves, the first on top, each ``width × sub_columns`` extents.

        -> the rows that have changed. Only columns that changed are drawn: each new step changes
        one, and the charts are most of what a frame costs.
        """
        stale = self._stale(curves)
        self._shown = list(curves)
        before = [[row[x] for x in stale] for row in self.cells]
        for row in self.cells:
            for x in stale:
                row[x] = None
        draw = self._draw_blocks
        if self._glyphs.level == "braille":
            draw, gone = self._draw_braille, set(stale)
            self._dots = {at: bits for at, bits in self._dots.items() if at[0] not in gone}
        for index in range(len(curves) - 1, -1, -1):
            draw(curves[index], index, stale)
        return {
            y
            for y, (row, old) in enumerate(zip(self.cells, before, strict=True))
            if [row[x] for x in stale] != old
        }

    def _stale(self, curves: Sequence[Sequence[Extent | None]]) -> list[int]:
        """The columns of cells in which any curve differs from what is shown."""
        shown, per = self._shown, sub_columns(self._glyphs)
        if len(curves) != len(shown):
            return list(range(self.width))
        found: set[int] = set()
        for new, old in zip(curves, shown, strict=True):
            if len(new) != len(old):
                return list(range(self.width))
            if new != old:
                pairs = enumerate(zip(new, old, strict=True))
                found.update(at // per for at, (one, other) in pairs if one != other)
        return sorted(x for x in found if x < self.width)

    def _draw_blocks(
        self, columns: Sequence[Extent | None], curve: int, wanted: Sequence[int]
    ) -> None:
        # One line per column at the highest value, and a bar where values spread over several
        # cells: a spike stays visible at any zoom. Inlined, since this is most of what a chart
        # costs: nine curves, four times a second.
        drawn = tuple(Cell(line, curve) for line in self._glyphs.lines)
        between = Cell(self._glyphs.axis, curve)
        cells, height, last = self.cells, self.height, self.height - 1
        low, scale = self._low, height / self._span
        known = len(columns)
        for x in wanted:
            extent = columns[x] if x < known else None
            if extent is None:
                continue
            small, large = extent
            if self._log:
                top = self.level(large) * height
                low_row = min(int(self.level(small) * height), last)
            else:
                top = min(max((large - low) * scale, 0.0), height)
                low_row = min(int(max((small - low) * scale, 0.0)), last)
            high_row = min(int(top), last)
            cells[last - high_row][x] = drawn[_mark(top - high_row)]
            for row in range(low_row, high_row):
                cells[last - row][x] = between

    def _draw_braille(
        self, columns: Sequence[Extent | None], curve: int, wanted: Sequence[int]
    ) -> None:
        rows = self.height * 4
        for at in (at for x in wanted for at in (2 * x, 2 * x + 1)):
            extent = columns[at] if at < len(columns) else None
            if extent is None:
                continue
            x, side = divmod(at, 2)
            bottom = min(int(self.level(extent[0]) * rows), rows - 1)
            top = min(int(self.level(extent[1]) * rows), rows - 1)
            for dot in range(bottom, top + 1):
                from_top = rows - 1 - dot
                y, inner = divmod(from_top, 4)
                bits = self._dots.get((x, y), 0) | _DOTS[inner][side]
                self._dots[(x, y)] = bits
                self.cells[y][x] = Cell(chr(0x2800 + bits), curve)


def _mark(part: float) -> int:
    """A thin line at one of three heights of the cell; ``part`` is 0 (bottom) … 1 (top)."""
    return 0 if part < 0.34 else 1 if part < 0.67 else 2
