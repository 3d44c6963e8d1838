"""New run: the options, the profile as a picture, the plan and the checks, before it starts."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from launcher.core.run.requests import StartRequest
from tui.drawing.text import clean
from tui.drawing.wording import profile_lines
from tui.screens.fields import fields_of, filled, rows
from tui.screens.new_run_checks import CheckedScreen
from tui.sources.feed import in_background
from tui.sources.messages import ActionDone, ActionFailed, PlanMade
from tui.sources.source import PlanText, SourceError
from tui.widgets.check_list import CheckList
from tui.widgets.hint_bar import HintBar

if TYPE_CHECKING:
    from launcher.client import ProfileEntry

FIELDS = fields_of(StartRequest, skip=("ignore", "preflight"))


class NewRunScreen(CheckedScreen):
    """``ctrl+s`` starts, once the plan is there and the checks are green."""

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
        Binding("slash", "edit", "Change options", key_display="/"),
    ]

    def __init__(self, profile: str) -> None:
        super().__init__()
        self._profile = profile
        self._request = StartRequest()
        self._plan: PlanText | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        """Options and picture at the left, the plan at the right, the checks below."""
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

    def on_mount(self) -> None:
        """Show the profile and make the plan."""
        self.query_one("#right").focus()
        self._find_profile()
        self._make_plan()
        self.check_nodes(self._profile, self._request)

    @work(thread=True, exclusive=True, group="home")
    def _find_profile(self) -> None:
        for profile in self.dashboard.source.home().profiles:
            if profile.name == self._profile:
                self.app.call_from_thread(self._show_profile, profile)

    def _show_profile(self, entry: ProfileEntry) -> None:
        lines = [clean(entry.description), "", *(clean(line) for line in profile_lines(entry))]
        lines += [f"cannot be used: {clean(error)}" for error in entry.errors]
        self.query_one("#picture", Static).update(Content("\n".join(lines).strip()))

    def _make_plan(self) -> None:
        self.is_planning = True
        source, profile, request = self.dashboard.source, self._profile, self._request

        def work() -> str:
            try:
                self.post_message(PlanMade(source.plan(profile, request)))
            except (SourceError, OSError, ValueError) as problem:
                self.post_message(PlanMade(None, str(problem)))
            return ""

        in_background(self, "plan", work)

    @property
    def _command(self) -> str:
        """The command that starts the same run."""
        return shlex.join(self._request.command(self._profile))

    def on_plan_made(self, message: PlanMade) -> None:
        """Draw the plan, or why there is none."""
        self._plan = message.plan
        self.is_planning = False
        if message.plan is None:
            self.query_one("#plan", Static).update(
                Content("no plan:\n" + clean(message.problem.replace("\n", " / ")))
            )
            return
        parts: list[tuple[str, str] | str] = [(f"$ {self._command}\n\n", "bold")]
        for title, lines in message.plan:
            parts.append((title + "\n", "bold underline"))
            parts.extend(clean(line) + "\n" for line in lines)
            parts.append("\n")
        self.query_one("#plan", Static).update(Content.assemble(*parts))
        self.start_if_asked()

    def action_edit(self) -> None:
        """To the first option."""
        self.query_one(f"#{FIELDS[0].name}").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Read the options, make plan and checks again."""
        if event.input.id == "ignore":
            self.name_given(event.input)
            return
        try:
            self._request = filled(self, FIELDS, self._request)
        except ValueError as problem:
            self.notify(str(problem), severity="error")
            return
        self.query_one("#right").focus()
        self.action_check_again()

    def ignored(self) -> None:
        """The command names what is ignored; an older notification is outdated."""
        self.app.clear_notifications()
        self._request = replace(self._request, ignore=self.board.ignored)
        self._make_plan()

    def action_check_again(self) -> None:
        """Make plan and checks again."""
        self._make_plan()
        self.check_nodes(self._profile, self._request)

    def action_back(self) -> None:
        """Close the line for a name, else back home."""
        if self.is_typing_name():
            self.close_field(self.query_one("#ignore", Input))
        else:
            self.dismiss()

    def action_start(self) -> None:
        """Start what the plan shows."""
        if self.dashboard.readonly:
            self.notify("started with --readonly: nothing can be started", severity="warning")
        elif self._plan is None and not self.is_planning:
            self.notify("there is no plan to start", severity="warning")
        elif not self._starting and self.may_start():
            self.start_now()

    def start_now(self) -> None:
        """One run, however often the key is pressed."""
        if self._starting or self._plan is None:
            return
        self._starting = True
        self.notify("starting …", timeout=3)
        source, profile, request = self.dashboard.source, self._profile, self._request
        in_background(self, "start", lambda: source.send(profile, request))

    def on_action_done(self, message: ActionDone) -> None:
        """Started: show the run."""
        if message.action == "start":
            app = self.dashboard
            self.dismiss()
            app.open_run(message.answer)

    def on_action_failed(self, message: ActionFailed) -> None:
        """Not started: show why, stay."""
        self._starting = False
        self.notify(f"{message.action}: {message.problem}", severity="error", timeout=15)

    def action_copy(self) -> None:
        """Copy the command that starts the same run."""
        self.dashboard.copy_text(self._command, "command")

    def action_copy_plan(self) -> None:
        """Copy all of the plan."""
        if self._plan is not None:
            text = "\n\n".join("\n".join((title, *lines)) for title, lines in self._plan)
            self.dashboard.copy_text(text, "plan")
