"""A log and the line in which its search or filter is typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from tui.logs.log_window import LogWindow
from tui.widgets.log_view import LogView

PROMPTS: Final[Mapping[str, tuple[Callable[[LogWindow, str], None], str]]] = {
    "search": (LogWindow.search, "search, a regular expression; n and N: next and previous"),
    "filter": (LogWindow.set_filter, "show only lines that match; empty shows all"),
}


class LogPanel(Vertical):
    """``/`` searches, ``f`` filters; ``escape`` closes the line."""

    BINDING_GROUP_TITLE = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "prompt('search')", "Search"),
        Binding("f", "prompt('filter')", "Filter", show=False),
        Binding("escape", "close", "Close", show=False),
    ]

    _purpose = "search"

    def compose(self) -> ComposeResult:
        yield LogView(id="log")
        line = Input(id="prompt", compact=True)
        line.display = False
        yield line

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """``escape`` is bound only while the line is open."""
        return action != "close" or bool(self.query_one("#prompt").display)

    def action_prompt(self, what: str) -> None:
        line = self.query_one("#prompt", Input)
        self._purpose = what
        _, line.placeholder = PROMPTS[what]
        line.value = ""
        line.display = True
        line.focus()

    def action_close(self) -> None:
        line = self.query_one("#prompt", Input)
        line.display = False
        self.query_one(LogView).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text, (apply, _) = event.value, PROMPTS[self._purpose]
        self.action_close()
        self.post_message(LogView.CommandGiven(lambda window: apply(window, text)))
