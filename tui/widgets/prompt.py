"""The line in which a screen asks for a text: a search, a filter, a rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

PROMPTS: Final[Mapping[str, str]] = {
    "search": "search the log, a regular expression; n and N: next and previous",
    "filter": "show only lines of the log that match; empty shows all",
    "rank": "go to the rank with this number",
    "runs": "state:failed top1>80% lr_max>=0.1 duration>1h, or a part of the id or note",
}


class Prompt(Input):
    """Hidden until ``ask``; ``enter`` posts :class:`Answered`, ``escape`` :class:`Cancelled`."""

    BINDING_GROUP_TITLE = "Prompt"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
    ]

    @dataclass
    class Answered(Message):
        """The line was typed; ``purpose`` is a key of ``PROMPTS``."""

        purpose: str
        text: str

    class Cancelled(Message):
        """The line was closed without an answer."""

    _purpose = "search"
    _before: Widget | None = None

    def on_mount(self) -> None:
        self.display = False

    def ask(self, purpose: str, text: str = "") -> None:
        """Show the line with a text to change, and take the focus."""
        self._purpose, self._before = purpose, self.screen.focused
        self.placeholder = PROMPTS[purpose]
        self.value, self.cursor_position = text, len(text)
        self.display = True
        self.focus()

    def action_close(self) -> None:
        """The focus returns to where it was."""
        self._close()
        self.post_message(self.Cancelled())

    def _close(self) -> None:
        self.display = False
        if self._before is not None:
            self._before.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._close()
        self.post_message(self.Answered(self._purpose, event.value))
