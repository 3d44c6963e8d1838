"""Home: the runs, and the profiles that a new run can be made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from launcher.core.text.figures import NOT_KNOWN, age, duration, number, percent, plural
from tui.drawing.text import clean, fit, fit_middle
from tui.drawing.wording import fault_of
from tui.model.derived import is_live
from tui.model.run import HomeView, tone_of
from tui.screens.base import FeedScreen
from tui.sources.feed import Feed
from tui.sources.messages import HomePolled, SourceFailed
from tui.widgets.hint_bar import HintBar
from tui.widgets.lines import Line
from tui.widgets.pick_list import PickList

if TYPE_CHECKING:
    from launcher.client import ProfileEntry, RunSummary

POLL_S = 1.0
NO_RUNS = (
    "No runs yet.",
    "",
    "n or enter on a profile below (tab) shows its plan before it starts.",
    "local-cpu trains EfficientNet-B2 on two ranks of this machine's CPU.",
    "effnet-tui --demo plays a recorded run of 8 ranks: a failure, a resume.",
)
NO_PROFILES = ("No profiles found. `effnet-launch profiles` shows which folders are searched.",)


class HomeScreen(FeedScreen):
    """Runs above, live ones first; profiles below."""

    BINDING_GROUP_TITLE = "Home"
    HELP = "Runs, live ones first, and the profiles from which a run can be started."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_run", "New run", id="home.new"),
        Binding("tab", "app.focus_next", "Runs/profiles", show=False),
        Binding("r", "poll_now", "Refresh", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view: HomeView | None = None
        self._words = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="body"):
            yield Static("effnet-tui  runs", classes="head", id="runs-head", markup=False)
            yield PickList(("looking for runs …",), id="runs")
            yield Static("profiles", classes="head", markup=False)
            yield PickList(("looking for profiles …",), id="profiles")
        yield Static("terminal too small", id="too-small")
        yield HintBar(id="hints")

    def on_mount(self) -> None:
        source = self.dashboard.source
        self.feed = Feed(self, lambda: POLL_S, "home", lambda: HomePolled(source.home()))
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
        self._view = message.view
        self.draw_again()
        self.dashboard.raise_alerts(message.view)
        self.answer_feed()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep the lists and show the problem."""
        self._title(f"effnet-tui  {clean(message.problem)}")
        self.answer_feed()

    def _title(self, words: str) -> None:
        if words != self._words:
            self._words = words
            self.query_one("#runs-head", Static).update(words, layout=False)

    def draw_again(self) -> None:
        super().draw_again()
        view = self._view
        if view is None:
            return
        live = sum(is_live(run.status) for run in view.runs)
        self._title(f"effnet-tui  {plural(len(view.runs), 'run')}, {live} live")
        runs = self.query_one("#runs", PickList)
        runs.show(
            [run.run for run in view.runs],
            [self._run_line(run, view.now) for run in view.runs],
            NO_RUNS,
        )
        profiles = self.query_one("#profiles", PickList)
        # Profiles come right below the runs; with many runs they keep a third of the screen.
        room = max(self.size.height - 3, 4)
        least = min(max(len(view.profiles), 1), max(room // 3, 3))
        runs.styles.height = min((len(view.runs) or len(NO_RUNS)) + 1, room - least)
        profiles.show(
            [profile.name for profile in view.profiles],
            [self._profile_line(profile) for profile in view.profiles],
            NO_PROFILES,
        )

    def _run_line(self, run: RunSummary, now: float) -> Line:
        palette, glyphs = self.dashboard.palette, self.dashboard.glyphs
        width = self.size.width
        live = is_live(run.status)
        mark = glyphs.live if live else glyphs.idle
        tone = tone_of(run.status)
        style = palette.muted if tone == "idle" else palette.by_tone(tone)
        epoch = epoch_of(run)
        end = f"ETA {duration(run.eta_s)}" if live else ""
        signs = (run.step_s, run.changed_s, run.created_s)
        since = next((sign for sign in signs if sign is not None), None)
        wide = width >= 100
        name_width = max(min(30 if run.note else 44, width - (56 if wide else 45)), 16)
        if run.note and not wide:
            name_width = 17
        fault = fault_of(run, now)
        if fault:  # before everything but a part of the id
            name_width = max(min(name_width, width - len(fault) - 17), 8)
        line = [
            Segment(f"{mark} {run.status.value:<9} ", style),
            Segment(fit(fit_middle(clean(run.run), name_width), name_width), palette.text),
        ]
        if fault:
            line.append(Segment(f" {fit(fault, min(len(fault), width - 23))}", palette.bad))
        else:
            line.append(Segment(f" epoch {epoch:<7} {percent(run.progress):>5}", palette.text))
            if wide:
                line.append(Segment(f"  loss {number(run.loss, 4):>6}", palette.text))
            old = age(None if since is None else now - since)
            line.append(Segment(f" {old + ' ago':>11}", palette.muted))
            if wide and end:
                line.append(Segment(f"  {end}", palette.text))
        room = width - 2 - sum(part.cell_length for part in line)  # 2: the cursor
        if run.note and room > 8:
            line.append(Segment(f"  {fit(clean(run.note), room - 2)}", palette.muted))
        return line

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

    def action_new_run(self) -> None:
        name = self.query_one("#profiles", PickList).key
        if self.dashboard.read_only:
            self.notify(self.dashboard.read_only, severity="warning")
        elif name is None:
            self.notify("no profile is selected", severity="warning")
        else:
            self.dashboard.open_profile(name)

    def action_poll_now(self) -> None:
        if self.feed is not None:
            self.feed.wake()


def epoch_of(run: RunSummary) -> str:
    """The current epoch, of how many."""
    if run.epoch is None:
        return NOT_KNOWN
    if run.epochs is None:
        return str(run.epoch + 1)
    return f"{min(run.epoch + 1, run.epochs)}/{run.epochs}"
