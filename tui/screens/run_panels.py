"""The panels of the run screen: which are shown, their sizes, and the data they request."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Static

from tui.charts.curves import MAX_CHARTED
from tui.charts.fields import FIELD_NAMES, FIELDS, sampled_fields
from tui.charts.viewport import Viewport
from tui.drawing.layout import PANELS, Layout, arrange
from tui.drawing.sizes import Shares, dragged, higher, wider
from tui.model.derived import failure_of
from tui.model.run import FrameRequest, RunFrame
from tui.screens.base import FeedScreen
from tui.sources.feed import LogFeed, RunFeed
from tui.sources.source import RunSource
from tui.widgets.chart import Chart
from tui.widgets.edges import EdgeView
from tui.widgets.failure_card import FailureCard, lines_wanted
from tui.widgets.hint_bar import HintBar
from tui.widgets.log_view import LogView
from tui.widgets.note_card import NoteCard, rows_of
from tui.widgets.prompt import Prompt
from tui.widgets.rank_table import RankTable
from tui.widgets.run_header import RunHeader
from tui.widgets.skew_strip import SkewStrip

SMOOTHING = (0.0, 0.6, 0.9, 0.97)
MAX_CHARTS = 4


class RunPanels(FeedScreen):
    """Lays the panels out; a subclass draws a ``frame`` in them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next panel", show=False),
        Binding("shift+tab", "app.focus_previous", "Previous panel", show=False),
        Binding("c", "next_field(1)", "Chart"),
        Binding("C", "next_field(-1)", "Previous chart", show=False),
        Binding("l", "log_scale", "Log scale", show=False),
        Binding("m", "smooth", "Smoothing", show=False),
        Binding("X", "next_axis", "Steps, epochs, time", show=False),
        Binding("z", "zoom", "Zoom panel"),
        Binding("1", "panel('ranks')", "Ranks on/off", show=False),
        Binding("2", "panel('charts')", "Charts on/off", show=False),
        Binding("3", "panel('skew')", "Lateness on/off", show=False),
        Binding("4", "panel('log')", "Log on/off", show=False),
        Binding("0", "reset_panels", "All panels, own sizes", show=False),
        Binding("plus,equals_sign", "resize_panel(1)", "Panel higher", show=False),
        Binding("minus", "resize_panel(-1)", "Panel lower", show=False),
        Binding("left_square_bracket", "resize_strip(2)", "Strip wider", show=False),
        Binding("right_square_bracket", "resize_strip(-2)", "Strip narrower", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.frame: RunFrame | None = None
        self.attempt: int | None = None  # the earlier attempt that is shown; None: the newest
        self.log_feed: LogFeed | None = None
        self._shown = frozenset(PANELS)
        self._zoom = ""
        self._first_field = 0
        self._sampled: set[str] = set()
        self._shares: Shares | None = None  # None until they are read from the settings
        # Kept, since each frame needs them and a query walks through the whole screen.
        self._charts = tuple(
            Chart(FIELD_NAMES[index], id=f"chart-{index}") for index in range(MAX_CHARTS)
        )
        self._strips = SkewStrip(beside=True, id="skew"), SkewStrip(id="skew-below")

    @property
    def source(self) -> RunSource | None:
        """The run, once its feed has opened it."""
        return self.feed.source if isinstance(self.feed, RunFeed) else None

    def compose(self) -> ComposeResult:
        """All panels; ``_arrange`` shows and hides them."""
        with Vertical(id="body"):
            yield RunHeader(id="header")
            yield FailureCard(id="card")
            yield NoteCard(id="note")
            with Horizontal(id="top"):
                yield RankTable(id="ranks")
                yield self._strips[0]
            yield self._strips[1]
            with Horizontal(id="charts"):
                yield from self._charts
            yield LogView(id="log")
            yield Prompt(id="prompt", compact=True)
        yield Static("", id="too-small")
        yield HintBar(id="hints")

    def _layout(self) -> Layout:
        ranks = 0 if self.frame is None else len(self.frame.snapshot.ranks)
        if self._shares is None:
            self._shares = dict(self.dashboard.settings.panels)
        run = None if self.frame is None else self.frame.snapshot
        failure = None if run is None else failure_of(run)
        card = 0
        if self.frame is not None and run is not None and failure is not None:
            keeps = run.kept is not None and not run.is_earlier
            card = lines_wanted(failure, run.is_earlier, keeps) + bool(self.frame.memory)
        elif run is not None:
            card = len(rows_of(run))
        width, height = self.size
        return arrange(width, height, ranks, self._shown, self._zoom, card, self._shares)

    def _arrange(self) -> None:
        layout = self._layout()
        table, card = self.query_one(RankTable), self.query_one(FailureCard)
        beside, below = self._strips
        failed = self.frame is not None and failure_of(self.frame.snapshot) is not None
        _give(card, layout.card if failed else 0)
        _give(self.query_one(NoteCard), 0 if failed else layout.card)
        _give(table, layout.table)
        _give(beside, layout.skew if layout.skew_width else 0)
        beside.styles.width = layout.skew_width or 1
        _give(below, 0 if layout.skew_width else layout.skew)
        self.query_one("#top").display = bool(layout.table or layout.skew_width)
        charts = self.query_one("#charts")
        _give(charts, layout.charts)
        fields = self._fields
        for index, chart in enumerate(self._charts):
            chart.display = bool(layout.charts) and index < layout.chart_count
            chart.styles.height = layout.charts or 1
            wanted = fields[(self._first_field + index) % len(fields)]
            if chart.field.name != wanted:
                chart.set_field(wanted)
        self.query_one(LogView).display = bool(layout.log)
        if self.log_feed is not None:  # a log that is not shown is not read
            (self.log_feed.go if layout.log else self.log_feed.hold)()
        self.call_after_refresh(self._ask)

    @property
    def _fields(self) -> tuple[str, ...]:
        """What can be charted; of the sampled fields those that this run has had."""
        if self.frame is not None:
            self._sampled |= sampled_fields(self.frame.snapshot.ranks)
        return tuple(
            name for name, field in FIELDS.items() if not field.is_sampled or name in self._sampled
        )

    def _ask(self) -> None:
        """Request from the feed what is on the screen now."""
        feed = self.feed
        if not isinstance(feed, RunFeed):
            return
        charts = tuple(chart.request for chart in self._charts if chart.columns_wanted > 0)
        bins = max(strip.bins_wanted for strip in self._strips)
        request = FrameRequest(charts, bins, self.attempt)
        if request != feed.request:
            feed.request = request
            feed.wake()

    def _draw(self) -> None:
        raise NotImplementedError

    def show_log(self) -> None:
        """Make room for the log where it is hidden."""
        self._shown |= {"log"}
        if self._zoom != "log" and not self._layout().log:
            self._zoom = ""
        if not self._layout().log:
            self._zoom = "log"
        self._arrange()
        self._draw()

    def action_panel(self, name: str) -> None:
        """Show or hide a panel; the last one stays."""
        self._zoom = ""
        shown = self._shown ^ {name}
        if shown - {"skew"}:
            self._shown = shown
        self._arrange()
        self._draw()

    def action_reset_panels(self) -> None:
        """All panels, in their default sizes."""
        self._shown, self._zoom = frozenset(PANELS), ""
        self._resize({})
        self.dashboard.keep(panels={})

    def _resize(self, shares: Shares) -> None:
        self._shares = shares
        self._arrange()
        self._draw()

    def action_resize_panel(self, by: int) -> None:
        """The focused panel takes or gives a line; kept for the next start."""
        if not self._zoom:
            panel = self._focused_panel(False)
            self._resize(higher(self._layout(), self.size.height, self._shares or {}, panel, by))
            self.dashboard.keep(panels=self._shares)

    def action_resize_strip(self, by: int) -> None:
        """Kept for the next start."""
        if not self._zoom:
            self._resize(wider(self._layout(), self.size.width, self._shares or {}, by))
            self.dashboard.keep(panels=self._shares)

    def on_edge_view_edge_dragged(self, message: EdgeView.EdgeDragged) -> None:
        if self._zoom:
            return
        layout, shares = self._layout(), self._shares or {}
        if message.view.edge == "left":
            self._resize(wider(layout, self.size.width, shares, -message.by))
            return
        panel = "charts" if isinstance(message.view, Chart) else "log"
        if isinstance(message.view, SkewStrip):
            panel = "skew"
        self._resize(dragged(layout, self.size.height, shares, panel, message.by))

    def on_edge_view_edge_released(self) -> None:
        """Kept for the next start."""
        self.dashboard.keep(panels=self._shares)

    def action_zoom(self) -> None:
        """The focused panel fills the screen, or returns to its size."""
        self._zoom = "" if self._zoom else self._focused_panel()
        self._arrange()
        self._draw()

    def _focused_panel(self, first: bool = True) -> str:
        """Its name; with ``first`` the focused chart becomes the first one."""
        focused = self.focused
        if isinstance(focused, Chart):
            if first and focused.field.name in self._fields:
                self._first_field = self._fields.index(focused.field.name)
            return "charts"
        return "ranks" if isinstance(focused, RankTable) else "log"

    def action_next_field(self, by: int) -> None:
        self._first_field = (self._first_field + by) % len(self._fields)
        self._arrange()

    def action_next_axis(self) -> None:
        """All charts over the next x axis."""
        self._look_at(self._charts[0].viewport.next_axis())

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        """All charts show the same part, with the same cursor."""
        self._look_at(message.chart.viewport)

    def _look_at(self, viewport: Viewport) -> None:
        for chart in self._charts:
            if chart.viewport != viewport:
                chart.look_at(viewport)
        self._ask()
        self.show_hints()

    def on_rank_table_rank_chosen(self, message: RankTable.RankChosen) -> None:
        self._show_chosen()

    def on_rank_table_ranks_marked(self, message: RankTable.RanksMarked) -> None:
        self._show_chosen()

    def on_rank_table_rows_moved(self) -> None:
        """The strip beside the table has the same ranks on the same lines."""
        self._strips[0].follow(self.query_one(RankTable).in_view)

    def _show_chosen(self) -> None:
        """The charts show the table's ranks in front."""
        chosen = self.query_one(RankTable).chosen_ranks
        for chart in self._charts:
            chart.choose(chosen)
        if self.frame is not None and len(self.frame.snapshot.ranks) > MAX_CHARTED:
            self._ask()

    def action_log_scale(self) -> None:
        for chart in self._charts:
            chart.log_scale = not chart.log_scale
        self._draw()

    def action_smooth(self) -> None:
        """More smoothing; after the strongest, none."""
        for chart in self._charts:
            at = SMOOTHING.index(chart.smoothing)
            chart.smoothing = SMOOTHING[(at + 1) % len(SMOOTHING)]
        self._ask()


def _give(widget: Widget, lines: int) -> None:
    widget.display = lines > 0
    if lines > 0:
        widget.styles.height = lines
