"""A chart of one field: curves over steps, labels at the left, the newest values on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual import events

from tui.canvas import Canvas, Cell, sub_columns
from tui.decimate import bounds
from tui.model import ChartData
from tui.text import fit, milliseconds, number, size_bytes
from tui.widgets.lines import Line, LineView

LABEL_WIDTH: Final = 8


@dataclass(frozen=True, slots=True)
class ChartField:
    """What can be drawn: its name in the client, its title, and how a value reads."""

    name: str
    title: str
    text: Callable[[float | None], str]
    mean_only: bool = False  # every rank reports the same value


def _plain(value: float | None) -> str:
    return number(value, 4)


FIELDS: Final = (
    ChartField("loss", "loss", _plain, mean_only=True),
    ChartField("step_time_ms", "step time", milliseconds),
    ChartField("memory_bytes", "memory", size_bytes),
    ChartField("images_per_s", "images/s", _plain, mean_only=True),
    ChartField("learning_rate", "learning rate", _plain, mean_only=True),
    ChartField("wait_ms", "wait", milliseconds),
)
FIELD_NAMES: Final = tuple(chart.name for chart in FIELDS)


def field_named(name: str) -> ChartField:
    """The field of a name; raises ``StopIteration`` for another name."""
    return next(chart for chart in FIELDS if chart.name == name)


class Chart(LineView):
    """One chart. It is given columns that already fit its width: see ``columns_wanted``."""

    def __init__(self, field: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.field = field_named(field)
        self.log_scale = False
        self.smoothing = 0.0
        self._data: ChartData | None = None

    @property
    def columns_wanted(self) -> int:
        """How many columns its data should have; 0 while it has no place."""
        width = self.content_size.width - LABEL_WIDTH - 1
        return max(width, 0) * sub_columns(self.glyphs) if self.display else 0

    def set_field(self, name: str) -> None:
        """Show another field; empty until its data come."""
        self.field = field_named(name)
        self._data = None
        self._draw()

    def show(self, data: ChartData) -> None:
        """Draw these curves; only lines that changed are painted."""
        self._data = data
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Draw into the new size; columns that fit come with the next poll."""
        self._draw()

    def _draw(self) -> None:
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
        line = [Segment(f"{title} ", palette.title)]
        room = width - len(title) - 1
        curves = () if self._data is None else self._data.curves
        for index, curve in enumerate(curves):
            text = f" {curve.label} {self.field.text(curve.last)}"
            if len(text) > room:
                break
            room -= len(text)
            line.append(Segment(text, self._style(index)))
        line.append(Segment(" " * room))
        return line

    def _style(self, curve: int) -> Style:
        series = self.palette.series
        return series[curve % len(series)]

    def _empty(self, height: int, width: int) -> list[Line]:
        text = "no data yet" if self._data is None or not self._data.curves else "no figures yet"
        lines: list[Line] = [[Segment(" " * width)] for _ in range(height)]
        if lines:
            lines[height // 2] = [
                Segment(fit(" " * (LABEL_WIDTH + 2) + text, width), self.palette.muted)
            ]
        return lines

    def _plot(
        self, data: ChartData, extent: tuple[float, float], width: int, height: int
    ) -> list[Line]:
        low, high = extent
        if low == high:
            pad = abs(low) * 0.05 or 0.5
            low, high = (low / 1.1, high * 1.1) if self.log_scale else (low - pad, high + pad)
        canvas = Canvas(width, height, low, high, self.log_scale, self.glyphs)
        # The first curve (the mean, or the only one) lies on top.
        for index in range(len(data.curves) - 1, -1, -1):
            canvas.draw(data.curves[index].columns, index)
        palette = self.palette
        labels = {0: high, height - 1: low}
        if height >= 5:
            middle = (low * high) ** 0.5 if self.log_scale else (low + high) / 2
            labels[height // 2] = middle
        marks = {min(int(at * width), width - 1) for at, _ in data.marks}
        lines: list[Line] = []
        for y, row in enumerate(canvas.cells):
            text = self.field.text(labels[y]) if y in labels else ""
            line = [Segment(fit(text, LABEL_WIDTH, ">"), palette.muted)]
            line.append(Segment(self.glyphs.axis, palette.muted))
            line.extend(_runs(row, marks, self._style, palette.muted))
            lines.append(line)
        return lines

    def _foot(self, data: ChartData | None, width: int) -> Line:
        if data is None:
            return [Segment(" " * width)]
        left = f"{'':{LABEL_WIDTH}} {data.first_step}"
        right = f"step {data.last_step}"
        marked = f"{self.glyphs.down} eval" if data.marks else ""
        middle = width - len(left) - len(right)
        text = left + fit(f"{marked:^{max(middle, 0)}}", max(middle, 0)) + right
        return [Segment(fit(text, width), self.palette.muted)]


def _runs(
    row: Sequence[Cell | None], marks: set[int], style_of: Callable[[int], Style], muted: Style
) -> list[Segment]:
    """A row's cells as few segments: neighbours of one style share one."""
    line: list[Segment] = []
    text = ""
    style: Style | None = None
    for x, drawn in enumerate(row):
        if drawn is not None:
            char, want = drawn.text, style_of(drawn.curve)
        else:
            char, want = (":" if x in marks else " "), muted
        if want is not style and text:
            line.append(Segment(text, style))
            text = ""
        text += char
        style = want
    if text:
        line.append(Segment(text, style))
    return line
