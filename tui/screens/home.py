"""Home: the runs, and the profiles that a new run can be made from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from launcher.core.history.filter import chosen
from launcher.core.text.figures import plural
from launcher.errors import UsageError
from tui.drawing.text import clean, fit
from tui.drawing.wording import fault_of
from tui.model.derived import is_live
from tui.model.run import HomeView
from tui.screens.base import when_composed
from tui.screens.home_actions import HomeActions
from tui.sources.feed import Feed
from tui.sources.messages import HomePolled, SourceFailed
from tui.widgets.hint_bar import HintBar
from tui.widgets.lines import Line
from tui.widgets.pick_list import PickList
from tui.widgets.prompt import Prompt
from tui.widgets.run_table import RunTable

if TYPE_CHECKING:
    from launcher.client import ProfileEntry, RunSummary

POLL_S = 1.0
MOST_OF_A_CORE = 0.05
"""What polling thousands of runs may take."""
NO_RUNS = (
    "No runs yet.",
    "",
    "enter on a profile below shows its plan before it starts.",
    "local-cpu trains EfficientNet-B2 on two ranks of this machine's CPU.",
    "effnet-tui --demo plays a recorded run of 8 ranks: a failure, a resume.",
)
NO_MATCH = ("No run matches the filter.", "", "/ changes it, escape removes it.")
NO_PROFILES = ("No profiles found. `effnet-launch profiles` shows which folders are searched.",)


class HomeScreen(HomeActions):
    """Runs above, live ones first; profiles below."""

    BINDING_GROUP_TITLE = "Home"
    HELP = "Runs, live ones first, and the profiles from which a run can be started."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="home.filter"),
        Binding("n", "new_run", "New run", id="home.new"),
        Binding("c", "compare", "Compare", id="home.compare"),
        Binding("d,delete", "remove", "Delete", id="home.remove"),
        Binding("escape", "clear_filter", "Clear the filter", show=False),
        Binding("tab", "app.focus_next", "Runs/profiles", show=False),
        Binding("r", "poll_now", "Refresh", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view: HomeView | None = None
        self._filter = self._before = ""
        self._problem = ""
        self._runs: list[RunSummary] = []
        self._words: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Static("effnet-tui  runs", classes="head", id="runs-head", markup=False)
            yield Prompt(id="prompt", compact=True, select_on_focus=False)
            yield RunTable(("looking for runs …",), id="runs")
            yield Static("", id="detail", markup=False)
            yield Static("profiles", classes="head", markup=False)
            yield PickList(("looking for profiles …",), id="profiles")
        yield Static("terminal too small", id="too-small")
        yield HintBar(id="hints")

    @when_composed
    def on_mount(self) -> None:
        source, took_s, unread = self.dashboard.source, 0.0, 0

        def poll() -> HomePolled:
            nonlocal took_s, unread
            began_s = time.thread_time()
            view = source.home()
            took_s, unread = time.thread_time() - began_s, view.unread
            return HomePolled(view)

        def period_s() -> float:
            return 0.0 if unread else max(POLL_S, took_s / MOST_OF_A_CORE)

        self.feed = Feed(self, period_s, "home", poll)
        self.query_one("#runs").focus()
        self.feed.start()

    def on_screen_suspend(self) -> None:
        """While it is covered, a change here would repaint the screen above."""
        if self.feed is not None:
            self.feed.hold()

    def on_screen_resume(self) -> None:
        if self.feed is not None:
            self.feed.go()

    def on_home_polled(self, message: HomePolled) -> None:
        if self._view is None and not message.view.runs:
            self.query_one("#profiles").focus()
        self._view = message.view
        self._choose()
        self.draw_again()
        self.dashboard.raise_alerts(message.view)
        self.answer_feed()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep the lists and show the problem."""
        self._say("runs-head", f"effnet-tui  {clean(message.problem)}")
        self.answer_feed()

    def _say(self, place: str, words: str) -> None:
        """Write a line, if it differs."""
        if words != self._words.get(place):
            self._words[place] = words
            self.query_one(f"#{place}", Static).update(Content(words), layout=False)

    @property
    def table(self) -> RunTable:
        return self.query_one("#runs", RunTable)

    def _choose(self) -> None:
        """The runs that match the filter, in their order; of an unfinished one those before."""
        view, table = self._view, self.table
        if view is None:
            return
        table.keep_marks(frozenset(run.run for run in view.runs))
        sort, is_reversed = table.sort, table.is_reversed
        try:
            self._runs = chosen(view.runs, self._filter, sort, reverse=is_reversed, now_s=view.now)
            self._problem = ""
        except UsageError as problem:
            self._problem = problem.message

    def draw_again(self) -> None:
        super().draw_again()
        view = self._view
        if view is None:
            return
        table = self.table
        table.show_runs(self._runs, view.now, NO_MATCH if view.runs else NO_RUNS)
        profiles = self.query_one("#profiles", PickList)
        # Profiles come right below the runs; with many runs they keep a third of the screen.
        is_asking = self.query_one(Prompt).display
        room = max(self.size.height - 4 - is_asking, 4)
        least = min(max(len(view.profiles), 1), max(room // 3, 3))
        lines = len(self._runs) + table.HEAD_LINES if self._runs else len(NO_RUNS)
        table.styles.height = min(lines + 1, room - least)
        profiles.show(
            [profile.name for profile in view.profiles],
            lambda at: self._profile_line(view.profiles[at]),
            NO_PROFILES,
        )
        self._draw_heads()

    def _draw_heads(self) -> None:
        view, table, width = self._view, self.table, self.size.width - 2
        if view is None:
            return
        live = sum(is_live(run.status) for run in view.runs)
        count = plural(len(view.runs), "run")
        words = f"effnet-tui  {count}, {live} live"
        if self._filter:
            words = f"effnet-tui  {len(self._runs)} of {count}, {live} live  filter: {self._filter}"
        if view.unread:
            words += f"  reading {view.unread} more …"
        if table.marked:
            words += f"  {len(table.marked)} marked"
        if self._problem:
            words = clean(self._problem)
        right = f" {table.cursor + 1}/{len(self._runs)}" if self._runs else ""
        self._say("runs-head", f"{fit(words, width - len(right))}{right}")
        self.query_one("#runs-head").set_class(bool(self._problem), "-bad")
        run = table.run if self._runs else None
        parts = []
        if run is not None:
            parts = [clean(run.run), clean(run.profile), fault_of(run, view.now), clean(run.note)]
        self._say("detail", fit(" · ".join(filter(None, parts)), width))

    def _profile_line(self, entry: ProfileEntry) -> Line:
        palette, name = self.dashboard.palette, f"{clean(entry.name):<20} "
        if entry.profile is None or entry.errors:
            why = entry.errors[0] if entry.errors else "it cannot be read"
            return [Segment(f"{name}cannot be used: {clean(why)}", palette.warn)]
        text = f"{plural(entry.profile.world_size, 'rank'):<9} {clean(entry.description)}"
        room = self.size.width - 2 - len(name)  # 2: the cursor
        return [Segment(name, palette.text), Segment(fit(text, room), palette.muted)]

    @on(PickList.Chosen, "#runs")
    def open_run(self, event: PickList.Chosen) -> None:
        self.dashboard.open_run(event.key)

    @on(PickList.Chosen, "#profiles")
    def open_profile(self, event: PickList.Chosen) -> None:
        self.dashboard.open_profile(event.key)

    def on_pick_list_moved(self) -> None:
        self._draw_heads()

    def on_run_table_arranged(self) -> None:
        self._choose()
        self.draw_again()

    def action_new_run(self) -> None:
        name = self.query_one("#profiles", PickList).key
        if self.dashboard.read_only:
            self.notify(self.dashboard.read_only, severity="warning")
        elif name is None:
            self.notify("no profile is selected", severity="warning")
        else:
            self.dashboard.open_profile(name)

    def action_filter(self) -> None:
        """The runs follow what is typed; ``escape`` takes it back."""
        self._before = self._filter
        self.query_one(Prompt).ask("runs", self._filter)
        self.draw_again()

    def on_input_changed(self, event: Input.Changed) -> None:
        if self.query_one(Prompt).display:
            self._set_filter(event.value)

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """A filter that is wrong stays on the screen with what is wrong."""
        if self._problem:
            self.query_one(Prompt).ask("runs", message.text)
        else:
            self.draw_again()

    def on_prompt_cancelled(self) -> None:
        self._set_filter(self._before)

    def action_clear_filter(self) -> None:
        self._set_filter("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """``escape`` does nothing without a filter."""
        if action == "clear_filter":
            return bool(self._filter)
        return super().check_action(action, parameters)

    def _set_filter(self, text: str) -> None:
        self._filter = text.strip()
        self._choose()
        self.draw_again()

    def action_poll_now(self) -> None:
        self.poll_now()
