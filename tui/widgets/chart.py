"""A chart of one field: curves over steps, labels on the left, the newest values on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.segment import Segment
from rich.style import Style

from launcher.core.text.figures import milliseconds, number, size_bytes
from tui.charts.decimate import bounds, bridged, without_spikes
from tui.drawing.canvas import Canvas, Cell, sub_columns
from tui.drawing.glyphs import ASCII
from tui.drawing.text import fit
from tui.model.run import ChartData, ChartRequest
from tui.widgets.edges import EdgeView
from tui.widgets.lines import Line, bar

LABEL_WIDTH: Final = 9


@dataclass(frozen=True, slots=True)
class ChartField:
    """What can be drawn: its name in the client, its title, and how a value reads."""

    name: str
    title: str
    text: Callable[[float | None, int], str]  # value, digits more than usual
    mean_only: bool = False  # every rank reports the same value
    spiky: bool = False  # the axis ends below single values far above all others


def _plain(value: float | None, more: int = 0) -> str:
    return number(value, 4 + more)


def axis_labels(values: Sequence[float], text: Callable[[float | None, int], str]) -> list[str]:
    """Labels with as few digits as make them differ, three more than usual at most."""
    labels: list[str] = []
    for more in range(4):
        labels = [text(value, more) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


FIELDS: Final = {
    field.name: field
    for field in (
        ChartField("loss", "loss", _plain, mean_only=True),
        ChartField("step_time_ms", "step time", milliseconds, spiky=True),
        ChartField("memory_bytes", "memory", size_bytes),
        ChartField("images_per_s", "images/s", _plain, mean_only=True),
        ChartField("learning_rate", "learning rate", _plain, mean_only=True),
        ChartField("wait_ms", "wait", milliseconds, spiky=True),
    )
}
FIELD_NAMES: Final = tuple(FIELDS)


class Chart(EdgeView, can_focus=True):
    """One chart. Its data has one value per column: see ``columns_wanted``."""

    BINDING_GROUP_TITLE = "Chart"
    HELP = "One field over the steps: per rank and their mean; ^ marks evaluations."

    def __init__(self, field: str, *, id: str) -> None:
        super().__init__(id=id)
        self.field = FIELDS[field]
        self.log_scale = False
        self.smoothing = 0.0
        self._data: ChartData | None = None
        # Kept while size, scale and colours stay the same; then only new columns are drawn.
        self._look: tuple[object, ...] | None = None
        self._canvas = Canvas(0, 0, 0.0, 1.0, False, ASCII)
        self._rows: list[list[Segment]] = []

    @property
    def columns_wanted(self) -> int:
        """How many columns its data should have; 0 while it is hidden."""
        width = self.content_size.width - LABEL_WIDTH - 1
        return max(width, 0) * sub_columns(self.glyphs) if self.display else 0

    @property
    def request(self) -> ChartRequest:
        field = self.field
        return ChartRequest(field.name, self.columns_wanted, self.smoothing, field.mean_only)

    def set_field(self, name: str) -> None:
        """Show another field; empty until its data comes."""
        self.field = FIELDS[name]
        self._data = None
        self.draw()

    def show(self, data: ChartData) -> None:
        self._data = data
        self.draw()

    def draw(self) -> None:
        width, height = self.content_size
        if width < LABEL_WIDTH + 4 or height < 3:
            self.set_lines([])
            return
        plot_width, plot_height = width - LABEL_WIDTH - 1, height - 2
        data = self._data
        lines: list[Line] = [self._head(width)]
        extent = None
        if data is not None:
            extent = bounds([curve.columns for curve in data.curves], self.log_scale)
        if data is None or extent is None:
            lines.extend(self._empty(plot_height, width))
        else:
            lines.extend(self._plot(data, extent, plot_width, plot_height))
        lines.append(self._foot(data if extent is not None else None, width))
        self.set_lines(lines)

    def _head(self, width: int) -> Line:
        palette = self.palette
        title = self.field.title
        if self.log_scale:
            title += " log"
        if self.smoothing:
            title += f" ~{self.smoothing:g}"
        style = palette.title + palette.cursor if self.has_focus else palette.title
        line = [Segment(f"{title} ", style)]
        room = width - len(title) - 1
        curves = () if self._data is None else self._data.curves
        for index, curve in enumerate(curves):
            label = f"{curve.label} " if curve.label else ""
            text = f" {label}{self.field.text(curve.last, 0)}"
            if len(text) > room:
                break
            room -= len(text)
            line.append(Segment(text, self._style(index)))
        return bar(line, width, palette.bar)

    def _style(self, curve: int) -> Style:
        series = self.palette.series
        return series[curve % len(series)]

    def _empty(self, height: int, width: int) -> list[Line]:
        lines: list[Line] = [[Segment(" " * width)] for _ in range(height)]
        text = f"{'':{LABEL_WIDTH + 2}}no data yet"
        lines[height // 2] = [Segment(fit(text, width), self.palette.muted)]
        return lines

    def _plot(
        self, data: ChartData, extent: tuple[float, float], width: int, height: int
    ) -> list[Line]:
        top = extent[1]
        if self.field.spiky and not self.log_scale:
            extent = without_spikes([curve.columns for curve in data.curves], extent)
        low, high = extent
        if low == high:
            pad = abs(low) * 0.05 or 0.5
            low, high = (low / 1.1, high * 1.1) if self.log_scale else (low - pad, high + pad)
        palette = self.palette
        marked = {0: high, height - 1: low}
        if height >= 5:
            marked[height // 2] = (low * high) ** 0.5 if self.log_scale else (low + high) / 2
        labels = dict(zip(marked, axis_labels(list(marked.values()), self.field.text), strict=True))
        if top > high:
            labels[0] = f">{labels[0]}"
        look = (width, height, low, high, self.log_scale, self.glyphs.level, palette, labels)
        if look != self._look:
            self._look = look
            self._canvas = Canvas(width, height, low, high, self.log_scale, self.glyphs)
            self._rows = [[] for _ in range(height)]
        canvas, rows = self._canvas, self._rows
        for y in canvas.show([bridged(curve.columns) for curve in data.curves]):
            rows[y] = []
        for y, row in enumerate(rows):
            if not row:
                label = Segment(fit(labels.get(y, ""), LABEL_WIDTH, ">"), palette.muted)
                axis = Segment(self.glyphs.axis, palette.muted)
                rows[y] = [label, axis, *_runs(canvas.cells[y], self._style)]
        return list(rows)

    def _foot(self, data: ChartData | None, width: int) -> Line:
        if data is None:
            return [Segment(" " * width)]
        # Evaluations are marked on the axis, with a legend on the left.
        room = width - LABEL_WIDTH - 1
        cells = [" "] * room
        for at, _ in data.marks:
            cells[max(0, min(int(at * room), room - 1))] = self.glyphs.up
        left, right = f"{data.first_step} ", f" step {data.last_step}"
        # The newest step's label ends below its column.
        span = max(data.end_step - data.first_step, 1)
        until = max(round((data.last_step - data.first_step) / span * room), len(left + right))
        if len(left) + len(right) < room:
            cells[: len(left)] = left
            cells[until - len(right) : until] = right
        head = f"{self.glyphs.up} eval" if data.marks else ""
        return [
            Segment(fit(head, LABEL_WIDTH + 1), self.palette.muted),
            Segment("".join(cells), self.palette.muted),
        ]


def _runs(row: Sequence[Cell | None], style_of: Callable[[int], Style]) -> list[Segment]:
    """A row's cells as few segments: neighbours of one style share one."""
    line: list[Segment] = []
    text = ""
    style: Style | None = None
    for drawn in row:
        char = " " if drawn is None else drawn.text
        want = style if drawn is None else style_of(drawn.curve)
        if want is not style and text:
            line.append(Segment(text, style))
            text = ""
        text += char
        style = want
    if text:
        line.append(Segment(text, style))
    return line
