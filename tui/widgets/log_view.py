"""A log's window: bytes of strangers, drawn as text and never acted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.drawing.text import clean, fit
from tui.logs.folding import folded
from tui.logs.log_source import level_of
from tui.logs.log_window import LogFrame, LogWindow, compile_pattern, describe
from tui.widgets.edges import EdgeView
from tui.widgets.lines import Line, bar

Command = Callable[[LogWindow], None]
KEEP_CHARS: Final = 4000  # of a line that is longer, the part up to here can be scrolled to


class LogView(EdgeView, can_focus=True):
    """Draws :class:`LogFrame`; keys become commands for the log's own thread."""

    BINDING_GROUP_TITLE = "Log"
    HELP = (
        "The log of one rank, or of several merged by time (a: all). "
        "Following shows new lines as they come; any scroll holds it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Line up", show=False),
        Binding("down,j", "move(1)", "Line down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("home,g", "window('home')", "First line", show=False),
        Binding("end,G", "window('end')", "End, follow", show=False),
        Binding("left,h", "sideways(-20)", "Left", show=False),
        Binding("right", "sideways(20)", "Right", show=False),
        Binding("space", "window('hold')", "Hold/follow"),
        Binding("n", "window('again', 1)", "Next match", show=False),
        Binding("N", "window('again', -1)", "Previous match", show=False),
        Binding("e", "window('error', 1)", "Next error"),
        Binding("E", "window('error', -1)", "Previous error", show=False),
        Binding("v", "window('next_level')", "Level"),
        Binding("u", "unfold", "Whole report lines", show=False),
    ]

    @dataclass
    class CommandGiven(Message):
        """Something to do to the log window, in its own thread."""

        command: Command

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.frame = LogFrame()
        self.is_folded = True
        self._left = 0

    @property
    def rows_wanted(self) -> int:
        """Log lines that fit; 0 while it is hidden."""
        return max(self.content_size.height - 1, 0) if self.display else 0

    def show(self, frame: LogFrame) -> None:
        if frame.label != self.frame.label:
            self._left = 0
        self.frame = frame
        self.draw()

    def on_resize(self) -> None:
        """The window gets the new height."""
        height = self.rows_wanted

        def set_height(window: LogWindow) -> None:
            window.height = height

        if height:
            self._give(set_height)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_move(3)

    def _give(self, command: Command) -> None:
        self.post_message(self.CommandGiven(command))

    def action_move(self, by: int) -> None:
        self._give(lambda window: window.move(by))

    def action_page(self, by: int) -> None:
        step = max(self.rows_wanted - 1, 1) * by
        self._give(lambda window: window.move(step))

    def action_window(self, method: str, *given: int) -> None:
        """Call a method of the log window."""
        self._give(methodcaller(method, *given))

    def action_sideways(self, by: int) -> None:
        longest = max((len(text) for _, text in self.frame.lines), default=0)
        self._left = max(0, min(self._left + by, longest - 20))
        self.draw()

    def action_unfold(self) -> None:
        """Report lines as they were printed, or folded again."""
        self.is_folded = not self.is_folded
        self.draw()

    def draw(self) -> None:
        width = self.content_size.width
        if width <= 4:
            return
        palette, frame = self.palette, self.frame
        title = palette.title if self.has_focus else palette.accent
        held = not frame.follow or bool(frame.note)
        label = frame.label
        rest = fit(describe(frame)[len(label) :], max(width - len(label), 0))
        title_line = [
            Segment(fit(label, min(len(label), width)), title),
            Segment(rest, palette.warn if held else palette.muted),
        ]
        lines: list[Line] = [bar(title_line, width, palette.bar)]
        digits = len(str(frame.total)) + 1 if width >= 100 else 0
        lines.extend(self._line(at, text, digits, width) for at, text in frame.lines)
        if not frame.lines:
            lines.append([Segment(" no lines yet" if not frame.total else " no such lines")])
        self.set_lines(lines)

    def _folded(self, text: str) -> str:
        """A report line, shortened unless that hides what was searched."""
        short, frame = folded(text), self.frame
        for pattern in (frame.pattern, compile_pattern(frame.filter_text)):
            if pattern is not None and pattern.search(text) and not pattern.search(short):
                return text
        return short

    def _line(self, at: int, text: str, digits: int, width: int) -> Line:
        palette, prefix, pattern = self.palette, self.frame.prefix, self.frame.pattern
        name, text = text[:prefix], text[prefix:]
        level = level_of(text)
        style: Style = {
            "error": palette.bad,
            "warning": palette.warn,
            "report": palette.muted,
        }.get(level, palette.text)
        if self.is_folded and level == "report":
            text = self._folded(text)
        here = at >= 0 and at == self.frame.match and self.has_keys
        line = [Segment(self.glyphs.cursor if here else " ", palette.accent)]
        if digits:
            line.append(Segment(f"{at + 1 if at >= 0 else '':>{digits}} ", palette.muted))
        if name:
            line.append(Segment(name, palette.series[int(name[1:]) % len(palette.series)]))
        room = width - 1 - (digits + 1 if digits else 0) - prefix
        shown = fit(clean(text[:KEEP_CHARS])[self._left :], room)
        found = pattern.search(shown) if pattern is not None else None
        if found is None or found.start() == found.end():
            line.append(Segment(shown, style))
        else:
            first, last = found.span()
            line.append(Segment(shown[:first], style))
            line.append(Segment(shown[first:last], palette.match))
            line.append(Segment(shown[last:], style))
        return line
