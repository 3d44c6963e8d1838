"""A chart: curves over steps, epochs or time, with a title that has their values.

It draws any :class:`ChartData`. Keys and the mouse change its :class:`Viewport`; who owns several
charts gives all of them the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from launcher.core.text.figures import NOT_KNOWN
from tui.charts.curves import MAX_CURVES
from tui.charts.decimate import Extent
from tui.charts.fields import FIELDS, ChartField, axis_labels
from tui.charts.viewport import Viewport
from tui.drawing.canvas import sub_columns
from tui.drawing.plot import (
    LABEL_WIDTH,
    Drawn,
    Look,
    Plot,
    at_cursor,
    cell_of,
    marks_legend,
    place_words,
)
from tui.drawing.text import fit
from tui.model.run import ChartData, ChartRequest
from tui.widgets.edges import EdgeView
from tui.widgets.lines import Line, bar

STEP: Final = 0.5  # of what is shown, a key or the wheel zooms to
PAN: Final = 0.25


class Chart(EdgeView, can_focus=True):
    """One chart. Its data has one value per column: see ``columns_wanted``."""

    BINDING_GROUP_TITLE = "Chart"
    HELP = (
        "One field over steps, epochs or time (X): the mean, the rank under the cursor of the "
        "table and marked ranks (+) in front, the others faint. What lies outside is marked at "
        "the edge with its value. The wheel zooms, dragging moves, a click reads the values."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cursor(-1)", "Cursor left"),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("up,k", "zoom(-1)", "Zoom in"),
        Binding("down,j", "zoom(1)", "Zoom out", show=False),
        Binding("H,shift+left", "pan(-1)", "Earlier", show=False),
        Binding("L,shift+right", "pan(1)", "Later", show=False),
        Binding("home,g", "whole", "Whole run", show=False),
        Binding("end,G", "newest", "Newest", show=False),
        Binding("escape", "whole", "Whole run", show=False),
    ]

    @dataclass
    class ViewChanged(Message):
        """Another part of the x axis, or another place of the cursor: what the chart has by now.

        Keys may have gone further than when this was sent.
        """

        chart: Chart

    def __init__(self, field: str | ChartField, *, id: str) -> None:
        super().__init__(id=id)
        self.field = FIELDS[field] if isinstance(field, str) else field
        self.log_scale = False
        self.smoothing = 0.0
        self.viewport = Viewport()
        self.chosen: tuple[int, ...] = ()
        self._data: ChartData | None = None
        self._plot = Plot()
        self._dragged_from: int | None = None
        self._was_dragged = False

    @property
    def _room(self) -> int:
        """Cells for the curves."""
        return max(self.content_size.width - LABEL_WIDTH - 1, 0)

    @property
    def columns_wanted(self) -> int:
        """How many columns its data should have; 0 while it is hidden."""
        return self._room * sub_columns(self.glyphs) if self.display else 0

    @property
    def request(self) -> ChartRequest:
        field, view = self.field, self.viewport
        return ChartRequest(
            field.name, self.columns_wanted, self.smoothing, field.mean_only,
            view.axis, view.width, view.end, self.chosen[:MAX_CURVES],
        )  # fmt: skip

    def set_field(self, field: str | ChartField) -> None:
        """Show another field; empty until its data comes."""
        self.field = FIELDS[field] if isinstance(field, str) else field
        self._data = None
        self.draw()

    def choose(self, ranks: Sequence[int]) -> None:
        """Draw these ranks in front and name them first."""
        if tuple(ranks) != self.chosen:
            self.chosen = tuple(ranks)
            self.draw()

    def look_at(self, viewport: Viewport) -> None:
        """Another part of the axis: drawn once its data comes; the cursor moves now."""
        self.viewport = viewport
        self.draw()

    def show(self, data: ChartData) -> None:
        if data is not self._data:
            self._data = data
            self.draw()

    # -- keys and mouse

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "whole":
            return not self.viewport.is_plain
        return super().check_action(action, parameters)

    def _change(self, viewport: Viewport) -> None:
        if viewport != self.viewport:
            self.look_at(viewport)
            self.post_message(self.ViewChanged(self))

    def action_cursor(self, by: int) -> None:
        if self._data is not None:
            self._change(self.viewport.moved(by, self._data, self._room))

    def action_zoom(self, by: int) -> None:
        if self._data is not None:
            self._change(self.viewport.zoomed(STEP if by < 0 else 1 / STEP, self._data))

    def action_pan(self, by: int) -> None:
        if self._data is not None:
            self._change(self.viewport.panned(by * PAN, self._data))

    def action_whole(self) -> None:
        """Remove the cursor, and show the whole run."""
        self._change(Viewport(self.viewport.axis))

    def action_newest(self) -> None:
        """Follow the newest value."""
        self._change(Viewport(self.viewport.axis, self.viewport.width))

    def _share(self, x: int) -> float:
        """0 … 1 of the plot's width."""
        return min(max((x - LABEL_WIDTH - 1 + 0.5) / max(self._room, 1), 0.0), 1.0)

    def _scrolled(self, event: events.MouseEvent, by: float) -> None:
        event.stop()
        if self._data is not None:
            share = self._share(event.get_content_offset_capture(self).x)
            self._change(self.viewport.zoomed(by, self._data, share))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scrolled(event, STEP)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scrolled(event, 1 / STEP)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Below the title, which is the panel's edge."""
        if event.y > 0 and event.button == 1:
            self._dragged_from, self._was_dragged = event.screen_x, False
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged_from is None or self._data is None:
            return
        by = self._dragged_from - event.screen_x
        if by:
            self._dragged_from, self._was_dragged = event.screen_x, True
            self._change(self.viewport.panned(by / max(self._room, 1), self._data))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """A click without a move places the cursor."""
        if self._dragged_from is None:
            return
        self._dragged_from = None
        self.release_mouse()
        if not self._was_dragged and self._data is not None:
            data = self._data
            place = data.first + self._share(event.get_content_offset_capture(self).x) * (
                data.end - data.first
            )
            self._change(self.viewport.at(place))

    # -- drawing

    def draw(self) -> None:
        width, height = self.content_size
        if width < LABEL_WIDTH + 4 or height < 3:
            self.set_lines([])
            return
        data, cursor = self._data, self.viewport.cursor
        look = Look(self.field, self.palette, self.glyphs, self.log_scale, cursor, self.chosen)
        body = None
        if data is not None and data.axis == self.viewport.axis:
            body = self._plot.lines(data, look, width, height - 1)
        if data is None or body is None:
            self.set_lines([self._head(None, look, width), *self._empty(height - 1, width)])
            return
        body = self._with_values(data, look, body, width)
        self.set_lines([self._head(data, look, width), *body])

    def _head(self, data: ChartData | None, look: Look, width: int) -> Line:
        palette = self.palette
        title = self.field.title
        if self.log_scale:
            title += " log"
        if self.smoothing:
            title += f" ~{self.smoothing:g}"
        if self.viewport.width is not None:
            title += " zoomed"
        style = palette.title + palette.cursor if self.has_focus else palette.title
        line = [Segment(f"{title} ", style)]
        room = width - len(title) - 1
        if data is None:
            return bar(line, width, palette.bar)
        cursor = look.cursor
        if cursor is not None:
            words = f" at {place_words(data, cursor)}"
            line.append(Segment(words, palette.accent))
            room -= len(words)
        for item in self._plot.curves(data, look):
            label = f"{item.curve.label} " if item.curve.label else ""
            text = f" {label}{self._value(item, data, cursor)}"
            if len(text) > room:
                break
            room -= len(text)
            line.append(Segment(text, item.style if item.is_in_front else palette.muted))
        legend = marks_legend(data, self.glyphs)
        if legend and len(legend) + 2 <= room:
            line.append(Segment(f"{legend:>{room}}", palette.muted))
        return bar(line, width, palette.bar)

    def _value(self, item: Drawn, data: ChartData, cursor: float | None) -> str:
        """The newest one, or what is in the cursor's column."""
        if cursor is None:
            return self.field.text(item.curve.last, 0)
        return self._texts([at_cursor(item.columns, data, cursor)])[0]

    def _with_values(
        self, data: ChartData, look: Look, body: list[list[Segment]], width: int
    ) -> list[list[Segment]]:
        """The values of all ranks at the cursor, on the side where it is not."""
        room, rows = self._room, len(body) - 3  # not over what lies outside, nor over the axis
        at = None if look.cursor is None else cell_of(look.cursor, data, room)
        ranks = [item for item in data.curves if item.rank is not None]
        if at is None or look.cursor is None or rows < 1 or len(ranks) < 2:
            return body
        found = [(item, at_cursor(item.columns, data, look.cursor)) for item in ranks]
        texts = self._texts([extent for _, extent in found])
        labels = {
            item.label: f" {item.label} {text}"
            for (item, _), text in zip(found, texts, strict=True)
        }
        wide = max(map(len, labels.values())) + 2
        most = max(room // 2 // wide, 1) * rows
        if len(found) > most:
            # Without room for all: the highest, as many as there is room for.
            found.sort(key=lambda one: -one[1][1] if one[1] else math.inf)
        shown = found[: most - 1] if len(found) > most else found
        cells = [
            Segment(
                fit(labels[item.label], wide),
                self.palette.title if item.rank in self.chosen else self.palette.text,
            )
            for item, _ in shown
        ]
        if len(found) > most:
            cells.append(
                Segment(fit(f" {len(found) - len(shown)} lower", wide), self.palette.muted)
            )
        rows = min(rows, len(cells))
        across = -(-len(cells) // rows) * wide
        left = LABEL_WIDTH + 1 + (room - across if at < room // 2 else 0)
        lines = list(body)
        for y in range(rows):
            box = bar(cells[y::rows], across, self.palette.bar)
            strip = Strip(lines[y + 1])
            lines[y + 1] = [*strip.crop(0, left), *box, *strip.crop(left + across, width)]
        return lines

    def _texts(self, extents: Sequence[Extent | None]) -> list[str]:
        """Values with as many digits as make them differ; of a column with several the ends."""
        values = sorted({value for extent in extents if extent for value in extent})
        texts = dict(zip(values, axis_labels(values, self.field.text), strict=True))
        return [
            "–".join(dict.fromkeys(texts[value] for value in extent)) if extent else NOT_KNOWN
            for extent in extents
        ]

    def _empty(self, height: int, width: int) -> list[Line]:
        lines: list[Line] = [[Segment(" " * width)] for _ in range(height)]
        text = f"{'':{LABEL_WIDTH + 2}}no data yet"
        lines[height // 2] = [Segment(fit(text, width), self.palette.muted)]
        return lines
