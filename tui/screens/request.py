"""An action before it starts: its options as fields, and the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from launcher.core.run.requests import Request
from tui.context import context_of
from tui.screens.base import when_composed
from tui.screens.fields import Field, filled, rows


class RequestScreen(ModalScreen[Request]):
    """Returns the request as it was filled in, or ``None`` when it was cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+y", "copy", "Copy command"),
    ]

    def __init__(
        self,
        title: str,
        target: str,
        request: Request,
        fields: Sequence[Field],
        *,
        start: str = "Start",
        about: str = "",
        below: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._title, self.target, self._start = title, target, start
        self.request, self._fields = request, fields
        self._about, self._below = about, below

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(self._title), classes="title")
            yield Static(Content(self._about), id="about")
            yield from rows(self._fields, self.request)
            yield Static("", classes="command", id="command")
            with Horizontal(id="buttons"):
                label = f"{self._start} (ctrl+s)"
                yield Button(label, id="start", variant="primary", compact=True)
                yield Button("Copy (ctrl+y)", id="copy", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)
            for text in self._below:
                yield Static(Content(text), classes="muted")

    @when_composed
    def on_mount(self) -> None:
        self.query_one("#about").display = bool(self._about)
        self.show_about(self._about)
        is_one = len(self._fields) == 1
        self.query_one(f"#{self._fields[0].name}" if is_one else "#start").focus()
        self._show_command()

    def show_about(self, text: str) -> None:
        """Also before the form is there."""
        self._about = text
        for about in self.query("#about").results(Static):
            about.update(Content(text))

    def filled(self) -> Request:
        """Raises ValueError."""
        return filled(self, self._fields, self.request)

    def command(self) -> str:
        """Raises ValueError."""
        return shlex.join(self.filled().command(self.target))

    def _show_command(self) -> None:
        try:
            text = f"$ {self.command()}"
        except ValueError as problem:
            text = str(problem)
        self.query_one("#command", Static).update(Content(text))

    def on_input_changed(self) -> None:
        self._show_command()

    def on_input_submitted(self) -> None:
        if len(self._fields) == 1:
            self.action_start()

    def on_select_changed(self) -> None:
        if self.is_mounted:
            self._show_command()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        {"start": self.action_start, "copy": self.action_copy}.get(
            event.button.id or "", self.action_cancel
        )()

    def action_start(self) -> None:
        try:
            self.dismiss(self.filled())
        except ValueError as problem:
            self.notify(str(problem), severity="error")

    def action_copy(self) -> None:
        try:
            context_of(self).copy_text(self.command(), "command")
        except ValueError as problem:
            self.notify(str(problem), severity="error")

    def action_cancel(self) -> None:
        self.dismiss(None)
