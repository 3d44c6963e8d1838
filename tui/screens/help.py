"""The keys that work now, made from the binding tables."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from tui.drawing.text import key_name


def key_rows(screen: Screen[object]) -> list[tuple[str, str, str]]:
    """``(group, keys, what it does)`` of every binding in force, focused panel first."""
    rows: list[tuple[str, str, str]] = []
    for node, bindings in screen._modal_binding_chain:
        group = getattr(node, "BINDING_GROUP_TITLE", None) or type(node).__name__
        actions: dict[str, tuple[list[str], str]] = {}
        for key, several in bindings.key_to_bindings.items():
            for binding in several:
                # Textual's own key for selected text is no news on screens without any.
                if not binding.description or binding.action == "screen.copy_text":
                    continue
                keys = actions.setdefault(binding.action, ([], binding.description))[0]
                keys.append(key_name(key))
        rows.extend((group, " ".join(dict.fromkeys(keys)), what) for keys, what in actions.values())
    return rows


class HelpScreen(ModalScreen[None]):
    """Shown over the screen whose keys it lists."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        focused = self._about.focused
        text = getattr(focused, "HELP", None) or getattr(self._about, "HELP", None) or ""
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold", no_wrap=True)
        table.add_column()
        last = ""
        for group, keys, what in key_rows(self._about):
            if group != last:
                table.add_row("", "")
                table.add_row("", group, style="underline")
                last = group
            table.add_row(keys, what)
        with Vertical(id="dialog"):
            yield Static("Keys", classes="title")
            if text:
                yield Static(text.strip(), markup=False)
            with VerticalScroll(id="keys"):
                yield Static(table)

    async def action_dismiss(self, result: None = None) -> None:
        self.dismiss(result)

    def action_scroll(self, by: int) -> None:
        self.query_one("#keys").scroll_relative(y=by, animate=False)
