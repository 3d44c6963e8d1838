"""The keys that work now, by what they are for, made from the binding tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from rich.table import Table
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from tui.drawing.text import key_name

# Actions by what they are for, in the order of showing; `name.parameter` where that matters.
PURPOSES: Final[Mapping[str, tuple[str, ...]]] = {
    "Act": ("start", "check_again", "ignore", "new_run", "choose", "resume", "stop", "job", "note",
            "stacks", "results", "remove", "compare"),
    "Find": ("ask", "worst", "open_log", "sort", "reverse", "window.error", "window.again",
             "window.next_level", "edit", "filter", "clear_filter"),
    "Move": ("focus_next", "focus_previous", "back", "move", "page", "window.home", "window.end",
             "sideways", "attempt"),
    "Logs": ("all_logs", "instead", "mark", "window.hold", "unfold"),
    "Charts": ("next_field", "log_scale", "smooth", "next_axis", "cursor", "zoom.-1", "zoom.1",
               "pan", "whole", "newest"),
    "Panels": ("zoom", "panel", "reset_panels", "resize_panel", "resize_strip"),
    "Time": ("pause", "seek", "speed", "next_rate", "poll_now"),
    "Copy": ("copy", "copy_plan", "copy_path"),
    "Dashboard": ("help", "next_theme", "command_palette", "suspend_process", "quit_dashboard",
                  "quit_now"),
}  # fmt: skip


def purpose_of(action: str) -> str:
    """Empty for an action that only one panel has."""
    _, name, parameters = parse(action)
    names = (f"{name}.{parameters[0]}" if parameters else name, name)
    return next((title for title, known in PURPOSES.items() if {*names} & {*known}), "")


def key_rows(screen: Screen[object]) -> list[tuple[str, str, str]]:
    """``(purpose, keys, what it does)`` of every binding in force."""
    rows: dict[str, list[tuple[str, str]]] = {title: [] for title in PURPOSES}
    for node, bindings in screen._modal_binding_chain:
        panel = getattr(node, "BINDING_GROUP_TITLE", None) or type(node).__name__
        actions: dict[str, tuple[list[str], str]] = {}
        for key, several in bindings.key_to_bindings.items():
            for binding in several:
                # Textual's own key for selected text is no news on screens without any.
                if not binding.description or binding.action == "screen.copy_text":
                    continue
                keys = actions.setdefault(binding.action, ([], binding.description))[0]
                keys.append(key_name(key))
        for action, (keys, what) in actions.items():
            title = purpose_of(action) or panel
            rows.setdefault(title, []).append((" ".join(dict.fromkeys(keys)), what))
    return [(title, *row) for title, several in rows.items() for row in several]


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
