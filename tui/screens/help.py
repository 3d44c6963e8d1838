"""The keys that work here, made from the binding table, so that it cannot be wrong."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static


def key_rows(screen: Screen[object], app: DOMNode) -> list[tuple[str, str, str]]:
    """``(group, keys, what it does)`` of every binding in force, focused panel first."""
    rows: list[tuple[str, str, str]] = []
    chain = list(screen._modal_binding_chain)
    for node, bindings in chain:
        group = getattr(node, "BINDING_GROUP_TITLE", None) or type(node).__name__
        actions: dict[str, tuple[list[str], str]] = {}
        for key, several in bindings.key_to_bindings.items():
            for binding in several:
                if not binding.description:
                    continue
                keys = actions.setdefault(binding.action, ([], binding.description))[0]
                shown = screen.app.get_key_display(binding)
                keys.append(shown if binding.key_display else key_name(key))
        rows.extend((group, " ".join(dict.fromkeys(keys)), what) for keys, what in actions.values())
    return rows


def key_name(key: str) -> str:
    """A key as people write it."""
    names = {
        "question_mark": "?", "slash": "/", "up": "↑", "down": "↓", "left": "←", "right": "→",
        "escape": "esc", "left_square_bracket": "[", "right_square_bracket": "]",
        "plus": "+", "minus": "-", "equals_sign": "=", "comma": ",", "full_stop": ".",
        "less_than_sign": "<", "greater_than_sign": ">", "pageup": "pgup", "pagedown": "pgdn",
    }  # fmt: skip
    return names.get(key, key)


class HelpScreen(ModalScreen[None]):
    """Any of the leaving keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        """A table of keys under each panel's name."""
        focused = self._about.focused
        text = getattr(focused, "HELP", None) or getattr(self._about, "HELP", None) or ""
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold", no_wrap=True)
        table.add_column()
        last = ""
        for group, keys, what in key_rows(self._about, self.app):
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
        """Close."""
        self.dismiss(result)

    def action_scroll(self, by: int) -> None:
        """Scroll the table."""
        self.query_one("#keys").scroll_relative(y=by, animate=False)
