"""The question before a run is stopped or removed, with the commands that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.context import context_of
from tui.screens.base import when_composed


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to confirm: its name, its label, and the command that does the same."""

    name: str
    label: str
    command: str


class ConfirmScreen(ModalScreen[str]):
    """Returns the chosen answer's name, or an empty string. Nothing is chosen beforehand."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "no", "No"),
        Binding("y", "answer(0)", "Yes", show=False),
        Binding("c,ctrl+y", "copy", "Copy command", show=False),
        Binding("left,h", "app.focus_previous", show=False),
        Binding("right,l", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str], answers: Sequence[Answer]) -> None:
        super().__init__()
        self._title, self._text, self._answers = title, lines, answers

    def compose(self) -> ComposeResult:
        """The safe answer is first."""
        with Vertical(id="dialog", classes="-bad"):
            yield Static(Content(self._title), classes="title")
            yield Static(Content("\n".join(self._text)))
            for answer in self._answers:
                yield Static(Content(f"$ {answer.command}"), classes="command")
            with Horizontal(id="buttons"):
                yield Button("No (esc)", id="no", compact=True)
                for index, answer in enumerate(self._answers):
                    key = " (y)" if index == 0 else ""
                    label = Content(answer.label + key)
                    yield Button(label, id=answer.name, compact=True, variant="error")

    @when_composed
    def on_mount(self) -> None:
        """On the frame, where it takes no line."""
        self.query_one("#dialog").border_subtitle = "c copies the command"

    def on_button_pressed(self, event: Button.Pressed) -> None:
        name = event.button.id or ""
        self.dismiss("" if name == "no" else name)

    def action_no(self) -> None:
        self.dismiss("")

    def action_answer(self, index: int) -> None:
        self.dismiss(self._answers[index].name)

    def action_copy(self) -> None:
        """Copy the command of the button that has the focus, else of the first answer."""
        focused = "" if self.focused is None else self.focused.id
        chosen = next((one for one in self._answers if one.name == focused), self._answers[0])
        context_of(self).copy_text(chosen.command, "command")
