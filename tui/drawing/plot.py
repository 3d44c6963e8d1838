"""The lines of a chart below its title: labels, curves, what lies outside, marks, the x axis."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.segment import Segment
from rich.style import Style

from tui.charts.curves import MAX_CURVES
from tui.charts.decimate import Columns, Extent, bridged
from tui.charts.fields import ChartField, axis_labels
from tui.charts.limits import LimitFinder, Limits
from tui.drawing.canvas import Canvas, sub_columns
from tui.drawing.glyphs import ASCII, Glyphs
from tui.drawing.text import fit
from tui.drawing.themes import Palette
from tui.model.run import ChartData, Curve

LABEL_WIDTH: Final = 10
MARKS: Final = {"not finite": "bad", "attempt": "begin", "eval": "up", "checkpoint": "saved"}
"""Kinds of marks and their glyphs; the first is wanted most where there is one cell for two."""
TWO_LINES: Final = 10
"""A chart with so many lines has one for the marks alone."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is drawn; ``chosen`` are the ranks to show in front, the first one first."""

    field: ChartField
    palette: Palette
    glyphs: Glyphs
    log: bool = False
    cursor: float | None = None
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve as it is drawn; in the legend when it has a ``label``."""

    curve: Curve
    columns: Columns
    style: Style
    is_in_front: bool = False


def place_words(data: ChartData, place: float) -> str:
    """A place on the x axis: ``step 1234``, ``2.50 epochs``, ``1:02:05`` since the run was made."""
    if data.axis == "time":
        hours, rest = divmod(max(int(place), 0), 3600)
        minutes, seconds = divmod(rest, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    if data.axis == "epoch" and data.steps_per_epoch:
        return f"{place / data.steps_per_epoch:.2f} epochs"
    return f"step {place:.0f}"


def at_cursor(columns: Columns, data: ChartData, cursor: float) -> Extent | None:
    """The values of a curve in the cursor's column, or in the nearest one that has some."""
    at = cell_of(cursor, data, len(columns))
    if at is None:
        return None
    near = (
        columns[x]
        for by in range(len(columns))
        for x in (at - by, at + by)
        if 0 <= x < len(columns)
    )
    return next((extent for extent in near if extent is not None), None)


class Plot:
    """Draws charts; keeps what has not changed since the last one."""

    def __init__(self) -> None:
        self._scale: tuple[object, ...] | None = None
        self._canvas = Canvas(0, 0, 0.0, 1.0, False, ASCII)
        self._paint: tuple[object, ...] | None = None
        self._rows: list[list[Segment]] = []
        self._limits = {log: LimitFinder(log) for log in (False, True)}

    def curves(self, data: ChartData, look: Look) -> list[Drawn]:
        """The curves to draw, the uppermost first: chosen ranks, means, the others, raw values."""
        series, faint = look.palette.series, look.palette.faint
        ranks = sum(curve.rank is not None for curve in data.curves)
        plain = [curve for curve in data.curves if curve.rank is None and not curve.is_context]
        front = {curve.rank: curve for curve in data.curves if curve.rank in look.chosen}
        chosen = [front[rank] for rank in look.chosen if rank in front][:MAX_CURVES]
        found = []
        for at, curve in enumerate(chosen):
            style = series[(len(plain) + 1 + at) % len(series)]  # not that of warnings
            bold = style + Style(bold=True) if at == 0 else style
            found.append(Drawn(curve, curve.columns, bold, True))
        found += [
            Drawn(curve, curve.columns, series[at % len(series)], True)
            for at, curve in enumerate(plain)
        ]
        found += [
            Drawn(curve, curve.columns, faint)
            for curve in data.curves
            if curve.is_context
            or (curve.rank is not None and curve not in chosen and ranks <= MAX_CURVES)
        ]
        return found

    def lines(
        self, data: ChartData, look: Look, width: int, height: int
    ) -> list[list[Segment]] | None:
        """``height`` lines of ``width`` cells; ``None`` when there is nothing to draw."""
        drawn = self.curves(data, look)
        raws = [
            Drawn(item.curve, item.curve.raw, look.palette.faint)
            for item in drawn
            if item.is_in_front and item.curve.raw
        ]
        limits = self._limits[look.log]([item.columns for item in (*drawn, *raws)])
        if limits is None:
            return None
        feet = self._feet(data, look, width, 2 if height >= TWO_LINES and data.marks else 1)
        lines = self._plot(data, look, [*drawn, *raws], limits, width, height - len(feet))
        return lines + feet

    def _plot(
        self,
        data: ChartData,
        look: Look,
        drawn: Sequence[Drawn],
        limits: Limits,
        width: int,
        height: int,
    ) -> list[list[Segment]]:
        low, high = limits.low, limits.high
        if low == high:
            pad = abs(low) * 0.05 or 0.5
            low, high = (low / 1.1, high * 1.1) if look.log else (low - pad, high + pad)
        palette, glyphs = look.palette, look.glyphs
        room = width - LABEL_WIDTH - 1
        scale = (room, height, low, high, look.log, glyphs.level)
        if scale != self._scale:
            self._scale, self._paint = scale, None
            self._canvas = Canvas(room, height, low, high, look.log, glyphs)
        changed = self._canvas.show([bridged(item.columns) for item in drawn])
        labels = _labels(low, high, height, look)
        cursor = None if look.cursor is None else cell_of(look.cursor, data, room)
        begins = tuple(sorted({int(at * room) for at, kind in data.marks if kind == "attempt"}))
        styles = tuple(item.style for item in drawn)
        paint = (palette, labels, cursor, begins, styles)
        if paint != self._paint:
            self._paint = paint
            self._rows = [[] for _ in range(height)]
        for y in changed:
            self._rows[y] = []
        for y, row in enumerate(self._rows):
            if not row:
                label = Segment(fit(labels.get(y, ""), LABEL_WIDTH, ">"), palette.muted)
                cells = self._cells(y, look, styles, begins)
                self._rows[y] = [
                    label,
                    Segment(glyphs.axis, palette.muted),
                    *_runs(cells, cursor, palette),
                ]
        rows = list(self._rows)
        for y, outside, mark in (
            (0, limits.above, glyphs.over),
            (height - 1, limits.below, glyphs.under),
        ):
            if outside:
                cells = self._cells(y, look, styles, begins)
                _mark_outside(cells, outside, mark, look, sub_columns(glyphs), room)
                rows[y] = [*rows[y][:2], *_runs(cells, cursor, palette)]
        return rows

    def _cells(
        self, y: int, look: Look, styles: Sequence[Style], begins: Sequence[int]
    ) -> list[tuple[str, Style]]:
        row, cells, style = self._canvas.cells[y], [], look.palette.text
        for cell in row:
            # A blank takes its neighbour's style: fewer segments.
            char, style = (" ", style) if cell is None else (cell.text, styles[cell.curve])
            cells.append((char, style))
        for at in begins:
            if at < len(row) and row[at] is None:
                cells[at] = (look.glyphs.begin, look.palette.muted)
        return cells

    def _feet(self, data: ChartData, look: Look, width: int, count: int) -> list[list[Segment]]:
        """The x axis: marks, and what is at its ends; in one line labels hide marks."""
        room = width - LABEL_WIDTH - 1
        muted = look.palette.muted
        marks = [" "] * room
        for kind, glyph in MARKS.items():
            for at in sorted(
                {min(int(at * room), room - 1) for at, of in data.marks if of == kind}
            ):
                # A checkpoint and its evaluation come at the same step: one beside the other.
                place = next(
                    (x for x in (at, at + 1, at - 1, at + 2) if 0 <= x < room and marks[x] == " "),
                    None,
                )
                if place is not None:
                    marks[place] = getattr(look.glyphs, glyph)
        left = f"{place_words(data, data.first).strip(string.ascii_letters + ' ')} "
        right = f" {place_words(data, min(data.last, data.end))}"
        words = marks if count == 1 else [" "] * room
        if len(left) + len(right) < room:
            # The newest value's label ends below its column.
            span = (data.end - data.first) or 1
            until = round((min(data.last, data.end) - data.first) / span * room)
            until = min(max(until, len(left + right)), room)
            words[: len(left)] = left
            words[until - len(right) : until] = right
        lines = [[Segment(f"{'':{LABEL_WIDTH + 1}}{''.join(words)}", muted)]]
        if count > 1:
            lines.insert(0, [Segment(f"{'':{LABEL_WIDTH + 1}}{''.join(marks)}", muted)])
        return lines


def marks_legend(data: ChartData, glyphs: Glyphs) -> str:
    """What the marks of a chart mean."""
    kinds = {kind for _, kind in data.marks}
    return "  ".join(f"{getattr(glyphs, MARKS[kind])} {kind}" for kind in MARKS if kind in kinds)


def cell_of(place: float, data: ChartData, room: int) -> int | None:
    """The column of cells of a place on the x axis."""
    span = data.end - data.first
    if not room or not data.first <= place <= data.end:
        return None
    return min(int((place - data.first) / span * room), room - 1) if span else 0


def _labels(low: float, high: float, height: int, look: Look) -> dict[int, str]:
    """The labels of the y axis by line."""
    marked = {0: high, height - 1: low}
    if height >= 5:
        marked[height // 2] = (low * high) ** 0.5 if look.log else (low + high) / 2
    return dict(zip(marked, axis_labels(list(marked.values()), look.field.text), strict=True))


def _mark_outside(
    cells: list[tuple[str, Style]],
    outside: Sequence[tuple[int, float]],
    mark: str,
    look: Look,
    per: int,
    room: int,
) -> None:
    """Marks each column with values outside, and writes the value beside where there is room."""
    style = look.palette.warn
    values: dict[int, float] = {}
    for at, value in outside:
        x = min(at // per, room - 1)
        values[x] = value if x not in values else max(values[x], value, key=abs)
    taken: set[int] = set()
    for x in sorted(values, key=lambda at: -abs(values[at])):
        if x in taken:  # beside a larger one, whose value it would hide
            continue
        cells[x] = (mark, style)
        taken.add(x)
        text = look.field.text(values[x], 0)
        for first in (x + 1, x - len(text)):
            place = range(first, first + len(text))
            if place.start >= 0 and place.stop <= room and taken.isdisjoint(place):
                taken.update(place)
                for at, char in zip(place, text, strict=True):
                    cells[at] = (char, style)
                break


def _runs(
    cells: Sequence[tuple[str, Style]], cursor: int | None, palette: Palette
) -> list[Segment]:
    """A row's cells as few segments: neighbours of one style share one."""
    if cursor is not None and cursor < len(cells):
        char, style = cells[cursor]
        cells = [*cells[:cursor], (char, style + palette.cursor), *cells[cursor + 1 :]]
    line: list[Segment] = []
    for _, same in groupby(cells, key=lambda cell: id(cell[1])):
        part = list(same)
        line.append(Segment("".join(char for char, _ in part), part[0][1]))
    return line
