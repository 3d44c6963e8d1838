"""A list with a cursor: runs, profiles, checkpoints. The caller makes the lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from tui.drawing.text import fit
from tui.widgets.lines import Line, LineView


class PickList(LineView, can_focus=True):
    """Keeps its cursor on the same key when lines come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("home,g", "move(-100000)", "First", show=False),
        Binding("end,G", "move(100000)", "Last", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("enter", "choose", "Open"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class Chosen(Message):
        """``enter`` on a line."""

        def __init__(self, picker: PickList, key: str) -> None:
            super().__init__()
            self.picker = picker
            self.key = key

        @property
        def control(self) -> PickList:
            """The list, for ``@on``."""
            return self.picker

    class Moved(Message):
        """The cursor came to another line."""

        def __init__(self, picker: PickList, key: str) -> None:
            super().__init__()
            self.picker = picker
            self.key = key

        @property
        def control(self) -> PickList:
            """The list, for ``@on``."""
            return self.picker

    def __init__(self, empty: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._empty = empty
        self._keys: tuple[str, ...] = ()
        self._rows: tuple[Line, ...] = ()
        self._top = 0

    @property
    def key(self) -> str | None:
        """The key of the line under the cursor."""
        return self._keys[self.cursor] if self.cursor < len(self._keys) else None

    def show(self, keys: Sequence[str], rows: Sequence[Line]) -> None:
        """Draw these lines; ``keys`` name them, each once."""
        before = self.key
        self._keys, self._rows = tuple(keys), tuple(rows)
        at = self._keys.index(before) if before in self._keys else self.cursor
        self.set_reactive(PickList.cursor, max(0, min(at, len(self._keys) - 1)))
        if self.key is not None and self.key != before:
            self.post_message(self.Moved(self, self.key))
        self._draw()

    def validate_cursor(self, value: int) -> int:
        """Within the lines that there are."""
        return max(0, min(value, len(self._keys) - 1))

    def watch_cursor(self) -> None:
        """Tell, and draw."""
        if self.key is not None:
            self.post_message(self.Moved(self, self.key))
        self._draw()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor += by

    def action_choose(self) -> None:
        """Open what is under the cursor."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: events.Click) -> None:
        """A click moves, a double click opens."""
        self.cursor = self._top + event.y
        if event.chain > 1:
            self.action_choose()

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer lines fit."""
        self._draw()

    def on_focus(self) -> None:
        """The cursor shows where the keys go."""
        self._draw()

    def on_blur(self) -> None:
        """The cursor is marked only."""
        self._draw()

    def _draw(self) -> None:
        width, height = self.content_size
        if width <= 2 or height <= 0:
            return
        palette = self.palette
        if not self._rows:
            self.set_lines(
                [[Segment(fit(f"  {text}", width), palette.muted)] for text in self._empty]
            )
            return
        self._top = max(0, min(self._top, len(self._rows) - height))
        if self.cursor < self._top:
            self._top = self.cursor
        elif self.cursor >= self._top + height:
            self._top = self.cursor - height + 1
        lines: list[Line] = []
        for at, row in enumerate(self._rows[self._top : self._top + height], self._top):
            here = at == self.cursor
            mark = f"{self.glyphs.cursor} " if here else "  "
            line = [Segment(mark, palette.accent), *row]
            if here and self.has_focus:
                used = sum(part.cell_length for part in line)
                line.append(Segment(" " * max(width - used, 0)))
                line = [
                    Segment(part.text, (part.style or palette.text) + palette.cursor)
                    for part in line
                ]
            lines.append(line)
        self.set_lines(lines)
