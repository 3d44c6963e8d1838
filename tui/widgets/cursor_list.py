"""The base of lists with a cursor: the keys that move it, scrolling, and how its line looks."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from tui.widgets.lines import Line, LineView, filled


class CursorList(LineView, can_focus=True):
    """Scrolls with its cursor; ``HEAD_LINES`` above the first row stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("home,g", "move(-100000)", "First", show=False),
        Binding("end,G", "move(100000)", "Last", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
    ]
    HEAD_LINES: ClassVar = 0

    cursor: reactive[int] = reactive(0, repaint=False)
    _top = 0

    @property
    def row_count(self) -> int:
        raise NotImplementedError

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, self.row_count - 1))

    def action_move(self, by: int) -> None:
        self.cursor += by

    def on_click(self, event: events.Click) -> None:
        if event.y >= self.HEAD_LINES:
            self.cursor = self._top + event.y - self.HEAD_LINES

    def rows_in_view(self) -> range:
        """The rows that fit; the cursor's is one of them."""
        room = max(self.content_size.height - self.HEAD_LINES, 1)
        top = max(0, min(self._top, self.row_count - room))
        self._top = max(min(top, self.cursor), self.cursor - room + 1)
        return range(self._top, min(self._top + room, self.row_count))

    def highlighted(self, line: Line, width: int) -> Line:
        """The cursor's line, filled to ``width`` cells; plain while the keys go elsewhere."""
        if not self.has_keys:
            return line
        text, cursor = self.palette.text, self.palette.cursor
        if cursor.reverse:  # a colour would become a patch of background
            return [Segment("".join(part.text for part in filled(line, width)), cursor)]
        return [Segment(part.text, (part.style or text) + cursor) for part in filled(line, width)]
