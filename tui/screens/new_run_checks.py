"""The checks of the new-run screen: looked at beside the plan, overridden by name, then one key."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from textual.message import Message
from textual.widgets import Input

from tui.model.checks import CheckBoard, waiting
from tui.screens.base import FeedScreen
from tui.sources.feed import in_background
from tui.sources.messages import CheckCame, ChecksBegun, ChecksDone
from tui.sources.source import SourceError
from tui.widgets.check_list import CheckList

LEAST_ROOM: Final = 6
DRAW_EVERY_S: Final = 0.05


class CheckedScreen(FeedScreen):
    """Holds the board; ``look_at_nodes`` begins, and what of an older look comes is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.board = CheckBoard()
        self._look_number = 0
        self.is_planning = False
        self._starts_when_green = False
        self._is_drawing_soon = False

    def may_start(self) -> bool:
        """Whether it is green; else says why not. While nodes are looked at it is remembered."""
        board = self.board
        if self.is_planning or not board.is_done:
            self._starts_when_green = True
            self.notify("starts as soon as plan and checks are there, and green", timeout=4)
            return False
        if not board.is_green:
            names = ", ".join(dict.fromkeys(check.check for check in board.red))
            text = f"red: {names}" if names else board.words
            self.notify(f"{text}; {board.next_words}", severity="warning", timeout=8)
        return board.is_green

    def start_if_asked(self) -> None:
        """The last of plan and checks has come: what was asked for meanwhile may begin."""
        if self._starts_when_green and self.board.is_done and not self.is_planning:
            self._starts_when_green = False
            if self.may_start():
                self.start_now()

    def start_now(self) -> None:
        """What happens once it is green and was asked for."""
        raise NotImplementedError

    def overridden(self) -> None:
        """A red check was named."""
        raise NotImplementedError

    def look_at_nodes(self, profile: str, overrides: dict[str, str]) -> None:
        """Ask all nodes, in a thread of its own."""
        self._look_number += 1
        look, source, names = self._look_number, self.dashboard.source, self.board.overridden
        self.board = CheckBoard(overridden=names)
        self._show_board()

        def work() -> str:
            problem = ""
            try:
                board = waiting(source.checks(profile), names)
                self._tell(ChecksBegun(look, board))
                source.preflight(profile, overrides, lambda c: self._tell(CheckCame(look, c)))
            except (SourceError, OSError, ValueError) as error:
                problem = str(error).replace("\n", " / ")
            self._tell(ChecksDone(look, problem))
            return ""

        in_background(self, "checks", work)

    def _tell(self, message: Message) -> None:
        """From a worker thread; the screen may be gone."""
        with suppress(RuntimeError):
            self.post_message(message)

    def on_checks_begun(self, message: ChecksBegun) -> None:
        """The rows to come, all waiting."""
        if message.look == self._look_number:
            self.board = message.board
            self._show_board()

    def on_check_came(self, message: CheckCame) -> None:
        """One row turns its colour."""
        if message.look == self._look_number:
            self.board = self.board.with_check(message.check)
            self._show_soon()

    def on_checks_done(self, message: ChecksDone) -> None:
        """All have come; what was asked for meanwhile may begin."""
        if message.look != self._look_number:
            return
        self.board = self.board.done(message.problem)
        self._show_board()
        self.start_if_asked()

    def action_override(self) -> None:
        """Ask for the name of a red check."""
        field = self.query_one("#override", Input)
        field.add_class("-asking")
        field.focus()

    def action_look_again(self) -> None:
        """Once more, for something was mended."""
        raise NotImplementedError

    def name_given(self, field: Input) -> None:
        """The name that was typed into the field."""
        try:
            self.board = self.board.with_override(field.value)
        except ValueError as problem:
            self.notify(str(problem), severity="error", timeout=8)
            return
        self.close_field(field)
        self._show_board()
        self.overridden()

    def close_field(self, field: Input) -> None:
        """The field goes away, its text too."""
        field.value = ""
        field.remove_class("-asking")
        self.query_one("#right").focus()

    def is_asking(self) -> bool:
        """Whether a name is being typed."""
        return self.query_one("#override", Input).has_class("-asking")

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
        """What has nothing to act on is not offered."""
        if action == "override":
            return bool(self.board.red)
        return super().check_action(action, parameters)
