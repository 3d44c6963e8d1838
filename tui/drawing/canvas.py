"""Curves into characters: a grid of cells; in each, the uppermost curve is visible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tui.charts.decimate import Columns
from tui.drawing.glyphs import Glyphs


class Cell(NamedTuple):
    """A drawn cell: its character and the index of the curve that it belongs to."""

    text: str
    curve: int


def sub_columns(glyphs: Glyphs) -> int:
    """How many values side by side one cell can show."""
    return glyphs.grid[0]


class Canvas:
    """``width`` × ``height`` cells over values ``low … high`` (logarithmic when ``log``)."""

    def __init__(
        self, width: int, height: int, low: float, high: float, log: bool, glyphs: Glyphs
    ) -> None:
        self.width, self.height, self._log, self._glyphs = width, height, log, glyphs
        self._low = math.log10(low) if log else low
        top = math.log10(high) if log else high
        self._rows = height * glyphs.grid[1]  # of dots
        self._scale = self._rows / ((top - self._low) or 1.0)
        self.cells: list[list[Cell | None]] = [[None] * width for _ in range(height)]
        self._shown: list[Columns] = []

    def show(self, curves: Sequence[Columns]) -> set[int]:
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
        for index in range(len(curves) - 1, -1, -1):
            self._draw(curves[index], index, stale)
        return {
            y
            for y, (row, old) in enumerate(zip(self.cells, before, strict=True))
            if [row[x] for x in stale] != old
        }

    def _stale(self, curves: Sequence[Columns]) -> list[int]:
        """The columns of cells in which any curve differs from what is shown."""
        shown, per = self._shown, self._glyphs.grid[0]
        if len(curves) != len(shown):
            return list(range(self.width))
        found: set[int] = set()
        for new, old in zip(curves, shown, strict=True):
            if len(new) != len(old):
                return list(range(self.width))
            if new != old:
                for at, (one, other) in enumerate(zip(new, old, strict=True)):
                    if one != other:
                        # The next one is joined with it.
                        found.update((at // per, (at + 1) // per))
        return sorted(x for x in found if x < self.width)

    def _dot(self, value: float) -> int:
        """The row of dots of a value, from the bottom; clamped."""
        if self._log:
            if value <= 0:
                return 0
            value = math.log10(value)
        return min(max(int((value - self._low) * self._scale), 0), self._rows - 1)

    def _draw(self, columns: Columns, curve: int, wanted: Sequence[int]) -> None:
        """A curve's dots from the lowest to the highest value, joined with the dots before."""
        across, down = self._glyphs.grid
        dots, dot, last, known = self._glyphs.dots, self._dot, self._rows - 1, len(columns)
        for x in wanted:
            drawn: dict[int, int] = {}
            for side in range(across):
                at = x * across + side
                extent = columns[at] if at < known else None
                if extent is None:
                    continue
                bottom, top = dot(extent[0]), dot(extent[1])
                before = columns[at - 1] if at else None
                if before is not None:
                    bottom, top = min(bottom, dot(before[1]) + 1), max(top, dot(before[0]) - 1)
                for from_top in range(last - top, last - bottom + 1):
                    y, inner = divmod(from_top, down)
                    drawn[y] = drawn.get(y, 0) | 1 << (inner * across + side)
            for y, bits in drawn.items():
                self.cells[y][x] = Cell(dots[bits], curve)
