"""A list to choose from: runs, profiles, checkpoints. The caller makes the lines in view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.drawing.text import fit
from tui.widgets.cursor_list import CursorList
from tui.widgets.lines import Line


class PickList(CursorList):
    """Keeps its cursor on the same key when lines come and go. ``empty`` is shown without lines."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Open")]

    @dataclass
    class Chosen(Message):
        """``enter`` on a line."""

        picker: PickList
        key: str

        @property
        def control(self) -> PickList:
            """The list, for ``@on``."""
            return self.picker

    class Moved(Message):
        """The cursor came to another line."""

    def __init__(self, empty: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self._empty = empty
        self._keys: tuple[str, ...] = ()
        self._line: Callable[[int], Line] = lambda at: ()

    @property
    def row_count(self) -> int:
        return len(self._keys)

    @property
    def key(self) -> str | None:
        return self._keys[self.cursor] if self.cursor < len(self._keys) else None

    def show(
        self, keys: Sequence[str], line: Callable[[int], Line], empty: Sequence[str] = ()
    ) -> None:
        """``keys`` name the lines, each once; ``line`` makes one when it is in view."""
        before = self.key
        self._keys, self._line, self._empty = tuple(keys), line, empty or self._empty
        at = self._keys.index(before) if before in self._keys else self.cursor
        self.set_reactive(PickList.cursor, self.validate_cursor(at))
        if self.key != before:
            self.post_message(self.Moved())
        self.draw()

    def watch_cursor(self) -> None:
        if self.key is not None:
            self.post_message(self.Moved())
        self.draw()

    def action_choose(self) -> None:
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: events.Click) -> None:
        if event.chain > 1:
            self.action_choose()

    def draw(self) -> None:
        width, height = self.content_size
        if width <= 2 or height <= 0:
            return
        palette = self.palette
        if not self._keys:
            text = [[Segment(fit(f"  {words}", width), palette.muted)] for words in self._empty]
            self.set_lines(text)
            return
        lines = list(self.heading(width))
        for at in self.rows_in_view():
            here = at == self.cursor
            cursor = self.glyphs.cursor if here and self.has_keys else " "
            mark = f"{cursor}{self.mark_of(self._keys[at])}"
            line = [Segment(mark, palette.accent), *self._line(at)]
            lines.append(self.highlighted(line, width) if here else line)
        self.set_lines(lines)

    def heading(self, width: int) -> Sequence[Line]:
        """The ``HEAD_LINES`` lines above the rows."""
        return ()

    def mark_of(self, key: str) -> str:
        """The cell between the cursor and the line."""
        return " "
