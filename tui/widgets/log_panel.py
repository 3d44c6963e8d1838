"""A log and the line in which its search or filter is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from tui.logs.log_window import LogWindow
from tui.widgets.log_view import LogView


class LogPanel(Vertical):
    """``/`` searches, ``f`` filters; ``escape`` puts the line away."""

    BINDING_GROUP_TITLE = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('search')", "Search"),
        Binding("f", "ask('filter')", "Filter", show=False),
        Binding("escape", "put_away", "Close", show=False),
    ]

    _asked = "search"

    def compose(self) -> ComposeResult:
        yield LogView(id="log")
        line = Input(id="ask", compact=True)
        line.display = False
        yield line

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """``escape`` is bound only while the line is open."""
        return action != "put_away" or bool(self.query_one("#ask").display)

    def action_ask(self, what: str) -> None:
        line = self.query_one("#ask", Input)
        self._asked = what
        line.placeholder = (
            "search, a regular expression; n and N: next and previous"
            if what == "search"
            else "show only lines that match; empty shows all"
        )
        line.value = ""
        line.display = True
        line.focus()

    def action_put_away(self) -> None:
        line = self.query_one("#ask", Input)
        line.display = False
        self.query_one(LogView).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text, searching = event.value, self._asked == "search"

        def command(window: LogWindow) -> None:
            if searching:
                window.search(text)
            else:
                window.set_filter(text)

        self.action_put_away()
        self.post_message(LogView.CommandGiven(command))
