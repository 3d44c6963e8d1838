"""The run screen: one run, from a glance to its last log line."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

from tui.feed import LogFeed, RunFeed
from tui.layout import Layout, arrange
from tui.log_window import LogWindow
from tui.messages import LogRead, RestartChosen, RunPolled, SourceFailed
from tui.model import Restart, RunFrame
from tui.screens.base import FeedScreen
from tui.screens.run_actions import RunActions
from tui.source import ChartRequest, FrameRequest, RunSource
from tui.widgets.chart import FIELD_NAMES, Chart
from tui.widgets.failure_card import FailureCard, lines_wanted
from tui.widgets.hint_bar import HintBar
from tui.widgets.log_panel import LogPanel
from tui.widgets.log_view import LogView
from tui.widgets.rank_table import RankTable
from tui.widgets.run_header import RunHeader
from tui.widgets.skew_strip import SkewStrip

LOG_PERIOD_S = 0.25
SMOOTHING = (0.0, 0.6, 0.9, 0.97)
MAX_CHARTS = 4


class RunScreen(RunActions, FeedScreen):
    """Everything about one run; what changes it is in :class:`RunActions`."""

    BINDING_GROUP_TITLE = "Run"
    HELP = "One run. q leaves it running; s asks before it ends anything."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Runs"),
        Binding("tab", "app.focus_next", "Next panel", show=False),
        Binding("shift+tab", "app.focus_previous", "Previous panel", show=False),
        Binding("c", "next_field(1)", "Chart"),
        Binding("C", "next_field(-1)", "Previous chart", show=False),
        Binding("l", "log_scale", "Log scale", show=False),
        Binding("m", "smooth", "Smoothing", show=False),
        Binding("z", "zoom", "Zoom panel"),
        Binding("1", "panel('ranks')", "Ranks on/off", show=False),
        Binding("2", "panel('charts')", "Charts on/off", show=False),
        Binding("3", "panel('skew')", "Lateness on/off", show=False),
        Binding("4", "panel('log')", "Log on/off", show=False),
        Binding("0", "reset_panels", "All panels", show=False),
        Binding("p", "pause", "Pause display", show=False),
        Binding("R", "next_rate", "Refresh rate", show=False),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_name = run
        self.frame: RunFrame | None = None
        self.restart: Restart | None = None
        self._log_feed: LogFeed | None = None
        self._shown = {"ranks", "charts", "skew", "log"}
        self._zoom = ""
        self._first_field = 0
        self._paused = False
        self._problem = ""
        self._polled_at = 0.0
        self._log_rank: int | None = None
        self._seen_failure: object = None

    def compose(self) -> ComposeResult:
        """All panels; ``_arrange`` says who is seen."""
        with Vertical(id="body"):
            yield RunHeader(id="header")
            yield FailureCard(id="card")
            with Horizontal(id="top"):
                yield RankTable(id="ranks")
                yield SkewStrip(id="skew")
            yield SkewStrip(id="skew-below")
            with Horizontal(id="charts"):
                for index in range(MAX_CHARTS):
                    yield Chart(FIELD_NAMES[index], id=f"chart-{index}")
            yield LogPanel(id="log-panel")
        yield Static("", id="too-small")
        yield HintBar(id="hints")

    def on_mount(self) -> None:
        """Open the run and start looking."""
        # Threads must not ask a screen for its app: it has none once it is gone.
        source, name, pace = self.dashboard.source, self.run_name, self.dashboard.pace
        self.feed = RunFeed(self, lambda: source.open(name), lambda: pace.period_s)
        self._log_feed = LogFeed(self, lambda: max(LOG_PERIOD_S, pace.period_s))
        self.query_one(RankTable).focus()
        self._arrange()
        self.start_feed()
        self._log_feed.start()
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """No screen, no reading."""
        super().on_unmount()
        if self._log_feed is not None:
            self._log_feed.end()

    @property
    def source(self) -> RunSource | None:
        """The run, once its feed has opened it."""
        return self.feed.source if isinstance(self.feed, RunFeed) else None

    # -- what comes from the feeds

    def on_run_polled(self, message: RunPolled) -> None:
        """A new moment."""
        self._polled_at = self.dashboard.clock()
        self._problem = ""
        first = self.frame is None
        if not self._paused:
            before, self.frame = self.frame, message.frame
            if first or before is None or self._shape(before) != self._shape(message.frame):
                self._arrange()
                self.call_after_refresh(self.show_hints)
            self._draw()
        if first or self._log_rank is None:
            self._open_log()
        self._note_failure(message.frame)
        self.answer_feed()

    def on_log_read(self, message: LogRead) -> None:
        """New lines, or another part of the log."""
        self.query_one(LogView).show(message.frame)
        if self._log_feed is not None:
            self.call_after_refresh(self._log_feed.drawn)

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep the last picture; its age grows and the reason is said."""
        if self.frame is None and self.source is None:
            self.dashboard.notify(message.problem, severity="error", timeout=10, markup=False)
            self.dismiss()
            return
        self._problem = message.problem
        self._draw()
        self.answer_feed()
        if self._log_feed is not None:
            self._log_feed.drawn()

    def on_restart_chosen(self, message: RestartChosen) -> None:
        """The card knows now what a resume would take."""
        self.restart = message.restart
        self._draw()

    def _note_failure(self, frame: RunFrame) -> None:
        view = frame.view
        mark = (view.attempt, view.state) if view.state in ("failed", "lost") else None
        if mark == self._seen_failure:
            return
        was_running = self._seen_failure is None
        self._seen_failure = mark
        self.restart = None
        if mark is not None:
            self.look_for_restart()
            if was_running and self.dashboard.settings.bell:
                self.app.bell()
        self.show_hints()

    @staticmethod
    def _shape(frame: RunFrame) -> tuple[object, ...]:
        view = frame.view
        return len(view.ranks), view.failure is None, view.state, bool(view.checkpoints)

    def _tick(self) -> None:
        # The header's age grows although no frame comes.
        if self.dashboard.clock() - self._polled_at > 1.5:
            self._draw_header()

    # -- drawing

    def draw_again(self) -> None:
        """After a change of size, theme or glyphs."""
        super().draw_again()
        if self.is_mounted:
            self._arrange()
            self._draw()
            for chart in self.query(Chart):
                chart.draw_again()

    def _layout(self) -> Layout:
        ranks = 0 if self.frame is None else len(self.frame.view.ranks)
        return arrange(
            self.size.width, self.size.height, ranks, self._shown, self._zoom, self._card_lines
        )

    @property
    def _card_lines(self) -> int:
        failure = None if self.frame is None else self.frame.view.failure
        return 0 if failure is None else lines_wanted(failure)

    def _arrange(self) -> None:
        layout = self._layout()
        table, card = self.query_one(RankTable), self.query_one(FailureCard)
        beside, below = self.query_one("#skew"), self.query_one("#skew-below")
        _give(card, layout.card)
        _give(table, layout.table)
        _give(beside, layout.skew if layout.skew_width else 0)
        beside.styles.width = layout.skew_width or 1
        _give(below, 0 if layout.skew_width else layout.skew)
        self.query_one("#top").display = bool(layout.table or layout.skew_width)
        charts = self.query_one("#charts")
        _give(charts, layout.charts)
        for index, chart in enumerate(self.query(Chart)):
            chart.display = bool(layout.charts) and index < layout.chart_count
            chart.styles.height = layout.charts or 1
            wanted = FIELD_NAMES[(self._first_field + index) % len(FIELD_NAMES)]
            if chart.field.name != wanted:
                chart.set_field(wanted)
        self.query_one(LogPanel).display = bool(layout.log)
        self.call_after_refresh(self._ask)

    def _ask(self) -> None:
        """Tell the feed what is on the screen now."""
        feed = self.feed
        if not isinstance(feed, RunFeed):
            return
        charts = tuple(
            ChartRequest(
                chart.field.name, chart.columns_wanted, chart.smoothing, chart.field.mean_only
            )
            for chart in self.query(Chart)
            if chart.columns_wanted > 0
        )
        bins = max(strip.bins_wanted for strip in self.query(SkewStrip))
        request = FrameRequest(charts, bins)
        if request != feed.request:
            feed.request = request
            feed.wake()

    def _draw_header(self) -> None:
        frame = self.frame
        if frame is None:
            return
        waited = max(self.dashboard.clock() - self._polled_at, 0.0)
        badge = self.dashboard.pace.badge
        if self._paused:
            badge = "display paused (p)"
        elif self._problem:
            badge = self._problem[:40]
        elif self.dashboard.readonly:
            badge = f"read-only  {badge}"
        self.query_one(RunHeader).show(frame.view, badge, waited if waited > 1.5 else 0.0)

    def _draw(self) -> None:
        frame = self.frame
        if frame is None:
            return
        self._draw_header()
        view = frame.view
        if view.failure is not None:
            self.query_one(FailureCard).show(view.failure, self.restart, view.now)
        self.query_one(RankTable).show(view)
        for strip in self.query(SkewStrip):
            if strip.display:
                strip.show(frame.skew)
        by_field = {data.field: data for data in frame.charts}
        for chart in self.query(Chart):
            data = by_field.get(chart.field.name)
            if data is not None and chart.display:
                chart.show(data)

    # -- keys

    def action_back(self) -> None:
        """To the home screen; the run goes on."""
        if self._zoom:
            self.action_zoom()
        else:
            self.dismiss()

    def action_panel(self, name: str) -> None:
        """Show or hide a panel; the last one stays."""
        self._zoom = ""
        shown = self._shown ^ {name}
        if shown - {"skew"}:
            self._shown = shown
        self._arrange()
        self._draw()

    def action_reset_panels(self) -> None:
        """Everything back."""
        self._shown, self._zoom = {"ranks", "charts", "skew", "log"}, ""
        self._arrange()
        self._draw()

    def action_zoom(self) -> None:
        """The focused panel takes the whole screen, or gives it back."""
        self._zoom = "" if self._zoom else self._focused_panel()
        self._arrange()
        self._draw()

    def _focused_panel(self) -> str:
        focused = self.focused
        if isinstance(focused, Chart):
            self._first_field = FIELD_NAMES.index(focused.field.name)
            return "charts"
        return "ranks" if isinstance(focused, RankTable) else "log"

    def action_next_field(self, by: int) -> None:
        """The charts show the next fields."""
        self._first_field = (self._first_field + by) % len(FIELD_NAMES)
        self._arrange()

    def action_log_scale(self) -> None:
        """Logarithmic y axes, on or off."""
        for chart in self.query(Chart):
            chart.log_scale = not chart.log_scale
        self._draw()

    def action_smooth(self) -> None:
        """More smoothing; after the strongest, none."""
        for chart in self.query(Chart):
            at = SMOOTHING.index(chart.smoothing)
            chart.smoothing = SMOOTHING[(at + 1) % len(SMOOTHING)]
        self._ask()

    def action_pause(self) -> None:
        """Freeze the picture; reading goes on."""
        self._paused = not self._paused
        self._draw()

    def action_next_rate(self) -> None:
        """4, 2, 1 frames a second."""
        self.dashboard.pace.choose_next()
        self._draw_header()

    # -- the log

    def on_rank_table_rank_chosen(self, message: RankTable.RankChosen) -> None:
        """The log follows the cursor."""
        self._open_log(message.rank)

    def on_rank_table_log_wanted(self) -> None:
        """``enter``: to the log; after a failure, to the line that tells it."""
        view = None if self.frame is None else self.frame.view
        row = self.query_one(RankTable).cursor
        self.query_one(LogView).focus()
        if view is None or view.failure is None or row >= len(view.ranks):
            return
        offset = view.failure.log_offset
        if offset is not None and view.ranks[row].rank == view.failure.rank:
            self._give_log(lambda window: window.go_offset(offset))

    def on_log_view_command_given(self, message: LogView.CommandGiven) -> None:
        """Scrolling, searching, filtering: in the log's own thread."""
        if self._log_feed is not None:
            self._log_feed.give(message.command)

    def _give_log(self, command: object) -> None:
        if self._log_feed is not None and callable(command):
            self._log_feed.give(command)

    def _open_log(self, rank: int | None = None) -> None:
        source, feed, frame = self.source, self._log_feed, self.frame
        if source is None or feed is None or frame is None or not frame.view.ranks:
            return
        if rank is None:
            first = frame.view.failure.rank if frame.view.failure is not None else None
            rank = frame.view.ranks[0].rank if first is None else first
            for index, row in enumerate(frame.view.ranks):
                if row.rank == rank:
                    self.query_one(RankTable).cursor = index
        self._log_rank = rank
        node = next((row.node for row in frame.view.ranks if row.rank == rank), "")
        label = f"log rank {rank} {node}".rstrip()
        feed.open(lambda: LogWindow(source.log(rank), label))


def _give(widget: Widget, lines: int) -> None:
    widget.display = lines > 0
    if lines > 0:
        widget.styles.height = lines
