"""The checks of the new-run screen: run beside the plan, ignored by name, then one key."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from textual.message import Message
from textual.widgets import Input

from tui.model.checks import CheckBoard
from tui.screens.base import FeedScreen
from tui.sources.feed import in_background
from tui.sources.messages import ChecksDone, ChecksStarted, RowChecked
from tui.sources.source import SourceError
from tui.widgets.check_list import CheckList

if TYPE_CHECKING:
    from launcher.core.run.requests import StartRequest

LEAST_ROOM: Final = 6
DRAW_EVERY_S: Final = 0.05


class CheckedScreen(FeedScreen):
    """Holds the board; ``check_nodes`` starts a preflight, rows of an older one are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.board = CheckBoard()
        self._number = 0
        self.is_planning = False
        self._starts_when_green = False
        self._is_drawing_soon = False

    def may_start(self) -> bool:
        """Whether it is green; else shows why not. During the checks the key is remembered."""
        board = self.board
        if self.is_planning or not board.is_done:
            self._starts_when_green = True
            self.notify("starts when plan and checks are done, if none failed", timeout=4)
            return False
        if not board.is_green:
            names = ", ".join(dict.fromkeys(row.check for row in board.red))
            text = f"failed: {names}" if names else board.words
            self.notify(f"{text}; {board.next_words}", severity="warning", timeout=8)
        return board.is_green

    def start_if_asked(self) -> None:
        """Plan and checks are done: start if the key was pressed meanwhile."""
        if self._starts_when_green and self.board.is_done and not self.is_planning:
            self._starts_when_green = False
            if self.may_start():
                self.start_now()

    def start_now(self) -> None:
        """Start it: it is green and the key was pressed."""
        raise NotImplementedError

    def ignored(self) -> None:
        """The name of a failed check was typed."""
        raise NotImplementedError

    def check_nodes(self, profile: str, request: StartRequest) -> None:
        """Check all nodes, in a thread of its own."""
        self._number += 1
        number, source, names = self._number, self.dashboard.source, self.board.ignored
        self.board = CheckBoard(ignored=names)
        self._show_board()

        def work() -> str:
            problem = ""
            try:
                board = CheckBoard(tuple(source.checks(profile)), ignored=names)
                self._post(ChecksStarted(number, board))
                source.preflight(profile, request, lambda row: self._post(RowChecked(number, row)))
            except (SourceError, OSError, ValueError) as error:
                problem = str(error).replace("\n", " / ")
            self._post(ChecksDone(number, problem))
            return ""

        in_background(self, "checks", work)

    def _post(self, message: Message) -> None:
        """From a worker thread; the screen may be gone."""
        with suppress(RuntimeError):
            self.post_message(message)

    def on_checks_started(self, message: ChecksStarted) -> None:
        """The rows to come, all pending."""
        if message.number == self._number:
            self.board = message.board
            self._show_board()

    def on_row_checked(self, message: RowChecked) -> None:
        """One row gets its colour."""
        if message.number == self._number:
            self.board = self.board.with_row(message.row)
            self._show_soon()

    def on_checks_done(self, message: ChecksDone) -> None:
        """All rows are there."""
        if message.number != self._number:
            return
        self.board = self.board.done(message.problem)
        self._show_board()
        self.start_if_asked()

    def action_ignore(self) -> None:
        """Open the line for the name of a failed check."""
        field = self.query_one("#ignore", Input)
        field.add_class("-open")
        field.focus()

    def name_given(self, field: Input) -> None:
        """The name that was typed into the field."""
        try:
            self.board = self.board.with_ignored(field.value)
        except ValueError as problem:
            self.notify(str(problem), severity="error", timeout=8)
            return
        self.close_field(field)
        self._show_board()
        self.ignored()

    def close_field(self, field: Input) -> None:
        """Hide the line and clear its text."""
        field.value = ""
        field.remove_class("-open")
        self.query_one("#right").focus()

    def is_typing_name(self) -> bool:
        """Whether the line for a name is open."""
        return self.query_one("#ignore", Input).has_class("-open")

    def draw_again(self) -> None:
        """Another size, theme or glyphs."""
        super().draw_again()
        self._show_board()

    def _show_soon(self) -> None:
        """Hundreds of rows may come at once: they are drawn together."""
        if not self._is_drawing_soon:
            self._is_drawing_soon = True
            self.set_timer(DRAW_EVERY_S, self._show_board)

    def _show_board(self) -> None:
        self._is_drawing_soon = False
        height = self.size.height
        for view in self.query(CheckList):
            view.show(self.board, max(height // 3, LEAST_ROOM), max(height // 2, LEAST_ROOM))
        self.show_hints()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done now is offered."""
        if action == "ignore":
            return bool(self.board.red)
        return super().check_action(action, parameters)
