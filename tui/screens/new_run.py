"""New run: the options, the profile as a picture, the plan and the checks, before it starts."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from launcher.core.profile.home import is_all_here
from launcher.core.run.requests import StartRequest
from launcher.core.text.figures import plural
from launcher.core.text.terminal import clean_lines
from tui.drawing.text import clean
from tui.drawing.wording import profile_lines
from tui.model.checks import CheckBoard
from tui.screens.base import FeedScreen, when_composed
from tui.screens.fields import fields_of, filled, rows
from tui.sources.feed import PROBLEMS, in_background, post
from tui.sources.messages import ActionDone, ActionFailed, ChecksChanged, HomePolled, PlanMade
from tui.sources.source import PlanText
from tui.widgets.check_list import CheckList
from tui.widgets.hint_bar import HintBar

if TYPE_CHECKING:
    from launcher.client import Row

FIELDS: Final = fields_of(StartRequest, skip=("ignore", "preflight"))
MIN_CHECK_LINES: Final = 6


class NewRunScreen(FeedScreen):
    """``ctrl+s`` starts, once the plan is there and no check failed."""

    BINDING_GROUP_TITLE = "New run"
    HELP = (
        "What a start would write and run, and whether all nodes are ready for it. enter in a"
        " field makes the plan and the checks again; o ignores a failed check by its name."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("o", "ignore", "Ignore a check"),
        Binding("c", "check_again", "Check again"),
        Binding("escape", "back", "Back"),
        Binding("y,ctrl+y", "copy", "Copy command"),
        Binding("Y", "copy_plan", "Copy plan"),
        Binding("slash", "edit", "Change options"),
    ]

    def __init__(self, profile: str) -> None:
        super().__init__()
        self._profile = profile
        self._request = StartRequest()
        self._plan: PlanText | None = None
        self._is_planning = False
        self._plans = 0
        self._board = CheckBoard(is_asked=False)
        self._preflights = 0
        self._starts_when_green = False
        self._is_starting = False

    def compose(self) -> ComposeResult:
        """Options and picture on the left, the plan on the right, the checks below."""
        with Vertical(id="body"):
            yield Static(Content(f"new run from {self._profile}"), classes="head title")
            with Horizontal(id="columns"):
                with VerticalScroll(id="left"):
                    yield from rows(FIELDS, self._request)
                    yield Static("", id="picture")
                with VerticalScroll(id="right"):
                    yield Static("making the plan …", id="plan")
            yield CheckList(id="checks")
            yield Input(
                placeholder="name of a failed check, to start anyway (esc: cancel)",
                id="ignore",
                compact=True,
            )
        yield Static("", id="too-small")
        yield HintBar(id="hints")

    @when_composed
    def on_mount(self) -> None:
        source = self.dashboard.source
        self.query_one("#right").focus()
        in_background(self, "profile", lambda: HomePolled(source.home()))
        self._make_plan()

    def on_home_polled(self, message: HomePolled) -> None:
        for entry in message.view.profiles:
            if entry.name == self._profile:
                lines = [entry.description, "", *profile_lines(entry)]
                lines += [f"cannot be used: {error}" for error in entry.errors]
                text = "\n".join(map(clean, lines)).strip()
                self.query_one("#picture", Static).update(Content(text))
                is_here = entry.profile is None or is_all_here(entry.profile)
                if is_here and not self._board.is_asked:
                    self._check_nodes()

    def action_check_again(self) -> None:
        self._make_plan()
        self._check_nodes()

    # -- the plan

    def _make_plan(self) -> None:
        """Make it in its own thread; the plan of an older request is dropped."""
        self._is_planning = True
        self._plans += 1
        number, source = self._plans, self.dashboard.source
        profile, request = self._profile, self._request

        def work() -> Message:
            try:
                return PlanMade(number, source.plan(profile, request))
            except PROBLEMS as error:
                return PlanMade(number, (), str(error) or type(error).__name__)

        in_background(self, "plan", work)

    @property
    def _command(self) -> str:
        return shlex.join(self._request.command(self._profile))

    def on_plan_made(self, message: PlanMade) -> None:
        if message.number != self._plans:
            return
        if message.problem:
            self._plan, self._is_planning, self._starts_when_green = None, False, False
            self._show_problem("no plan: ", clean_lines(message.problem))
            return
        parts: list[tuple[str, str] | str] = [(f"$ {self._command}\n\n", "bold")]
        for title, lines in message.plan:
            parts.append((title + "\n", "bold underline"))
            parts.extend(clean(line) + "\n" for line in lines)
            parts.append("\n")
        self._plan, self._is_planning = message.plan, False
        self.query_one("#plan", Static).update(Content.assemble(*parts))
        self._start_if_asked()

    # -- the checks

    def _check_nodes(self) -> None:
        """Run a preflight in its own thread; rows of an older one are dropped."""
        self._preflights += 1
        number, source = self._preflights, self.dashboard.source
        profile, request = self._profile, self._request
        self._show_board(CheckBoard())

        def work() -> Message:
            board, problem = CheckBoard(), ""

            def on_row(row: Row) -> None:
                nonlocal board
                board = board.with_row(row)
                post(self, ChecksChanged(number, board))

            try:
                board = CheckBoard(tuple(source.checks(profile)))
                post(self, ChecksChanged(number, board))
                source.preflight(profile, request, on_row)
            except PROBLEMS as error:
                problem = str(error).replace("\n", " / ")
            return ChecksChanged(number, board.done(problem))

        in_background(self, "checks", work)

    def on_checks_changed(self, message: ChecksChanged) -> None:
        if message.number == self._preflights:
            self._show_board(message.board)
            self._start_if_asked()

    def _show_board(self, board: CheckBoard) -> None:
        self._board = replace(board, ignored=self._request.ignore)
        room, most = (max(self.size.height // part, MIN_CHECK_LINES) for part in (3, 2))
        for view in self.query(CheckList):
            view.show(self._board, room, most)
        self.show_hints()

    def draw_again(self) -> None:
        super().draw_again()
        self._show_board(self._board)

    def refusal(self, action: str, parameters: tuple[object, ...]) -> str:
        return "no check has failed" if action == "ignore" and not self._board.failed else ""

    def action_ignore(self) -> None:
        field = self.query_one("#ignore", Input)
        field.add_class("-open")
        field.focus()

    def _ignore(self, field: Input) -> None:
        """The plan's command names what is ignored; an older notification is outdated."""
        try:
            board = self._board.with_ignored(field.value)
        except ValueError as problem:
            self.notify(str(problem), severity="error", timeout=8)
            return
        self._close(field)
        self.app.clear_notifications()
        self._request = replace(self._request, ignore=board.ignored)
        self._show_board(board)
        self._make_plan()

    def _close(self, field: Input) -> None:
        field.value = ""
        field.remove_class("-open")
        self.query_one("#right").focus()

    # -- keys

    def action_edit(self) -> None:
        self.query_one(f"#{FIELDS[0].name}").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "ignore":
            self._ignore(event.input)
            return
        try:
            self._request = filled(self, FIELDS, self._request)
        except ValueError as problem:
            self.notify(str(problem), severity="error")
            return
        self.query_one("#right").focus()
        self._make_plan()
        if self._board.is_asked:
            self._check_nodes()

    def action_back(self) -> None:
        """Close the line for a name, else go back to the home screen."""
        field = self.query_one("#ignore", Input)
        if field.has_class("-open"):
            self._close(field)
        else:
            self.dismiss()

    def action_start(self) -> None:
        """Start what the plan shows. During the checks the key is remembered."""
        board = self._board
        self.app.clear_notifications()
        if self.dashboard.read_only:
            self.notify(self.dashboard.read_only, severity="warning")
        elif self._plan is None and not self._is_planning:
            self.notify("not started: there is no plan, and its place says why", severity="warning")
        elif self._is_planning or not board.is_done:
            self._starts_when_green = True
            self.notify("starts when plan and checks are done, if none failed", timeout=4)
            if not board.is_asked:
                self._check_nodes()
        elif not board.is_green:
            why = plural(len(board.failed), "check") + " failed" if board.failed else board.words
            text = f"not started: {why}; c: check again"
            text += "  o: ignore" if board.failed else ""
            self.notify(text, severity="warning", timeout=8)
        elif not self._is_starting:  # one run, however often the key is pressed
            self._is_starting = True
            self.notify("starting …", timeout=60)
            send, profile, request = self.dashboard.send, self._profile, self._request
            in_background(self, "start", lambda: ActionDone("start", send(profile, request)))

    def _start_if_asked(self) -> None:
        if self._starts_when_green and self._board.is_done and not self._is_planning:
            self._starts_when_green = False
            self.action_start()

    def on_action_done(self, message: ActionDone) -> None:
        app = self.dashboard
        self.app.clear_notifications()
        self.dismiss()
        app.open_run(message.answer)

    def on_action_failed(self, message: ActionFailed) -> None:
        if message.action == "start":  # a notification would cover the checks
            self._is_starting = False
            self.app.clear_notifications()
            self._show_problem("not started: ", clean_lines(message.problem))
            return
        self.notify(f"{message.action}: {message.problem}", severity="error", timeout=15)

    def _show_problem(self, head: str, problem: str) -> None:
        """In place of the plan."""
        text = Content.assemble((head, "bold $text-error"), problem)
        self.query_one("#plan", Static).update(text)
        self.query_one("#right").scroll_home(animate=False)

    def action_copy(self) -> None:
        self.dashboard.copy_text(self._command, "command")

    def action_copy_plan(self) -> None:
        if self._plan is not None:
            text = "\n\n".join("\n".join((title, *lines)) for title, lines in self._plan)
            self.dashboard.copy_text(text, "plan")
