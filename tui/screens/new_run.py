"""New run: the profile as a picture, the configuration, the plan; nothing starts unseen."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from tui.drawing.text import clean
from tui.drawing.wording import profile_lines
from tui.screens.new_run_checks import CheckedScreen
from tui.sources.feed import in_background
from tui.sources.messages import ActionDone, ActionFailed, PlanMade
from tui.sources.source import DATA_PATH, IGNORE, PlanText, SourceError
from tui.widgets.check_list import CheckList
from tui.widgets.hint_bar import HintBar

if TYPE_CHECKING:
    from launcher.client import ProfileEntry


def parse_overrides(text: str) -> dict[str, str]:
    """``batch_size=32 epoch_size=5`` as a mapping; raises ``ValueError`` naming what is not one."""
    result: dict[str, str] = {}
    for part in shlex.split(text):
        key, sign, value = part.partition("=")
        if not sign or not key:
            raise ValueError(f"{part!r} is not key=value")
        result[key] = value
    return result


class NewRunScreen(CheckedScreen):
    """``ctrl+s`` starts, once the plan is there and the checks are green."""

    BINDING_GROUP_TITLE = "New run"
    HELP = (
        "What a start would write and run, and whether all nodes are ready for it. Training keys"
        " are changed as key=value; a red check is overridden by typing its name."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("o", "override", "Override"),
        Binding("c", "look_again", "Check again"),
        Binding("escape", "back", "Back"),
        Binding("y,ctrl+y", "copy", "Copy command"),
        Binding("Y", "copy_plan", "Copy plan"),
        Binding("slash", "edit", "Change keys", key_display="/"),
    ]

    def __init__(self, profile: str) -> None:
        super().__init__()
        self._profile = profile
        self._overrides: dict[str, str] = {}
        self._plan: PlanText | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        """Picture and keys at the left, the plan at the right."""
        with Vertical(id="body"):
            yield Static(Content(f"new run from {self._profile}"), classes="head title")
            with Horizontal(id="columns"):
                with VerticalScroll(id="left"):
                    yield Static("", id="picture")
                    yield Static("changed keys", classes="title")
                    yield Input(
                        placeholder="epoch_size=5 batch_size=32", id="overrides", compact=True
                    )
                    yield Static("", id="changed")
                    yield Static("data folder", classes="title")
                    yield Input(placeholder="as in the profile", id="data", compact=True)
                with VerticalScroll(id="right"):
                    yield Static("making the plan …", id="plan")
            yield CheckList(id="checks")
            yield Input(
                placeholder="name of a red check, to start all the same (esc: none)",
                id="override",
                compact=True,
            )
        yield Static("", id="too-small")
        yield HintBar(id="hints")

    def on_mount(self) -> None:
        """Show the profile and make the plan."""
        self.query_one("#right").focus()
        self._look()
        self._make_plan()
        self.look_at_nodes(self._profile, dict(self._overrides))

    @work(thread=True, exclusive=True, group="home")
    def _look(self) -> None:
        for profile in self.dashboard.source.home().profiles:
            if profile.name == self._profile:
                self.app.call_from_thread(self._show_profile, profile)

    def _show_profile(self, entry: ProfileEntry) -> None:
        lines = [clean(entry.description), "", *(clean(line) for line in profile_lines(entry))]
        lines += [f"cannot be used: {clean(error)}" for error in entry.errors]
        self.query_one("#picture", Static).update(Content("\n".join(lines).strip()))

    def _make_plan(self) -> None:
        self.is_planning = True
        source, profile, overrides = self.dashboard.source, self._profile, dict(self._overrides)

        def work() -> str:
            try:
                self.post_message(PlanMade(source.plan(profile, overrides)))
            except (SourceError, OSError, ValueError) as problem:
                self.post_message(PlanMade(None, str(problem)))
            return ""

        in_background(self, "plan", work)

    def on_plan_made(self, message: PlanMade) -> None:
        """Draw the plan, or why there is none."""
        self._plan = message.plan
        self.is_planning = False
        if message.plan is None:
            self.query_one("#plan", Static).update(
                Content("no plan:\n" + clean(message.problem.replace("\n", " / ")))
            )
            return
        parts: list[tuple[str, str] | str] = [("$ " + message.plan.command + "\n\n", "bold")]
        for title, lines in message.plan.sections:
            parts.append((title + "\n", "bold underline"))
            parts.extend(clean(line) + "\n" for line in lines)
            parts.append("\n")
        self.query_one("#plan", Static).update(Content.assemble(*parts))
        self.start_if_asked()

    def action_edit(self) -> None:
        """Type changed keys."""
        self.query_one("#overrides").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the keys, make the plan again, look again."""
        if event.input.id == "override":
            self.name_given(event.input)
            return
        data = self.query_one("#data", Input).value.strip()
        try:
            self._overrides = parse_overrides(self.query_one("#overrides", Input).value)
        except ValueError as problem:
            self.notify(str(problem), severity="error")
            return
        changed = "\n".join(f"* {key} = {value}" for key, value in self._overrides.items())
        self.query_one("#changed", Static).update(Content(changed))
        if data:
            self._overrides[DATA_PATH] = data
        self._take_overridden()
        self.query_one("#right").focus()
        self._make_plan()
        self.look_at_nodes(self._profile, dict(self._overrides))

    def overridden(self) -> None:
        """The command names what was overridden; what was said of it before is no longer true."""
        self.app.clear_notifications()
        self._take_overridden()
        self._make_plan()

    def _take_overridden(self) -> None:
        if self.board.overridden:
            self._overrides[IGNORE] = " ".join(self.board.overridden)

    def action_look_again(self) -> None:
        """Once more, for something was mended."""
        self._make_plan()
        self.look_at_nodes(self._profile, dict(self._overrides))

    def action_back(self) -> None:
        """Out of the field, else back home."""
        if self.is_asking():
            self.close_field(self.query_one("#override", Input))
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
        """It is green: one run, however often the key comes."""
        if self._starting or self._plan is None:
            return
        self._starting = True
        self.notify("starting …", timeout=3)
        source, profile, overrides = self.dashboard.source, self._profile, dict(self._overrides)
        in_background(self, "start", lambda: source.start(profile, overrides))

    def on_action_done(self, message: ActionDone) -> None:
        """Started: show the run."""
        if message.action == "start":
            app = self.dashboard
            self.dismiss()
            app.open_run(message.answer)

    def on_action_failed(self, message: ActionFailed) -> None:
        """Not started: say why, stay."""
        self._starting = False
        self.notify(f"{message.action}: {message.problem}", severity="error", timeout=15)

    def action_copy(self) -> None:
        """The command that starts the same run."""
        if self._plan is not None:
            self.dashboard.copy_text(self._plan.command, "command")

    def action_copy_plan(self) -> None:
        """All of the plan."""
        if self._plan is not None:
            text = "\n\n".join("\n".join((title, *lines)) for title, lines in self._plan.sections)
            self.dashboard.copy_text(text, "plan")
