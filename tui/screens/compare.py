"""Runs beside each other: their curves in one chart, and what differs in words and figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from launcher.core.history.compare import NAMES, rows
from launcher.core.history.config import shown
from launcher.core.run.requests import PROGRAM
from launcher.core.text.figures import NOT_KNOWN, accuracy, duration, number, percent, plural
from tui.charts.fields import FIELDS, ChartField
from tui.charts.viewport import Viewport
from tui.drawing.text import clean, fit
from tui.drawing.wording import fault_of
from tui.model.run import ComparisonFrame, tone_of
from tui.screens.base import FeedScreen, when_composed
from tui.sources.feed import Feed
from tui.sources.messages import ComparisonPolled, SourceFailed
from tui.sources.source import ComparisonSource
from tui.widgets.chart import Chart
from tui.widgets.hint_bar import HintBar
from tui.widgets.lines import Line
from tui.widgets.pick_list import PickList

POLL_S: Final = 1.0
CURVES: Final = (
    FIELDS["loss"],
    ChartField(
        "top_1_acc", "top-1", lambda value, more: percent(value, 1.0, 2 + more), mean_only=True
    ),
    *(FIELDS[name] for name in ("images_per_s", "step_time_ms", "wait_ms", "learning_rate")),
)
TITLE_WIDTH: Final = 26
SMOOTHINGS: Final = (0.0, 0.6, 0.9)


class CompareScreen(FeedScreen):
    """A chart above; below it the runs, what makes the difference, settings and speeds."""

    BINDING_GROUP_TITLE = "Compare"
    HELP = "Curves of runs over each other, the settings that differ, and where the time went."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Runs"),
        Binding("c", "next_curve(1)", "Next curve"),
        Binding("C", "next_curve(-1)", "Previous curve", show=False),
        Binding("X", "next_axis", "Steps/time"),
        Binding("l", "log_scale", "Log scale", show=False),
        Binding("m", "smooth", "Smoothing"),
        Binding("y", "copy", "Copy command", show=False),
        Binding("tab", "app.focus_next", "Chart/table", show=False),
    ]

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = names
        self._frame: ComparisonFrame | None = None
        self._lines: list[Line] = []
        self._source: ComparisonSource | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="body"):
            title = f"effnet-tui  compare {plural(len(self._names), 'run')}"
            yield Static(title, classes="head", id="compare-head", markup=False)
            yield Chart(CURVES[0], id="curves")
            yield PickList(("reading the runs …",), id="table")
        yield Static("terminal too small", id="too-small")
        yield HintBar(id="hints")

    @property
    def _chart(self) -> Chart:
        return self.query_one("#curves", Chart)

    @when_composed
    def on_mount(self) -> None:
        source, names = self.dashboard.source, self._names

        def poll() -> ComparisonPolled:
            if self._source is None:
                self._source = source.compare(names)
            return ComparisonPolled(self._source.frame(self._request))

        self._request = self._chart.request
        self.feed = Feed(self, lambda: POLL_S, "compare", poll)
        self.query_one("#table").focus()
        self.feed.start()

    def on_screen_suspend(self) -> None:
        if self.feed is not None:
            self.feed.hold()

    def on_screen_resume(self) -> None:
        if self.feed is not None:
            self.feed.go()

    def on_comparison_polled(self, message: ComparisonPolled) -> None:
        self._frame = message.frame
        if message.frame.chart.field == self._chart.field.name:
            self._chart.show(message.frame.chart)
        if self._chart.request != self._request:
            self._ask()
        self._draw_table()
        self.answer_feed()

    def on_source_failed(self, message: SourceFailed) -> None:
        self.query_one("#compare-head", Static).update(clean(message.problem))
        self.answer_feed()

    def draw_again(self) -> None:
        super().draw_again()
        self._draw_table()
        self._ask()

    def _ask(self) -> None:
        self._request = self._chart.request
        if self.feed is not None:
            self.feed.wake()

    def _draw_table(self) -> None:
        if self._frame is None or not self.is_mounted:
            return
        self._lines = list(self._all_lines(self._frame))
        keys = [str(at) for at in range(len(self._lines))]
        self.query_one("#table", PickList).show(keys, self._lines.__getitem__)

    def _all_lines(self, frame: ComparisonFrame) -> Iterator[Line]:
        palette, found, width = self.dashboard.palette, frame.comparison, self.size.width - 2
        names = NAMES[: len(found.runs)]
        for at, (name, run) in enumerate(zip(names, found.runs, strict=True)):
            words = fault_of(run, frame.now) or clean(run.note)
            figures = (
                f" {percent(run.progress):>5}  loss {number(run.loss, 4)}"
                f"  top-1 {accuracy(run.best_top_1)}  took {duration(run.duration_s)}"
            )
            state = f"{run.status.value:<9}"
            tone = tone_of(run.status)
            line = [
                Segment(f"{name} ", palette.series[at % len(palette.series)] + Style(bold=True)),
                Segment(state, palette.by_tone(tone)),
                Segment(f" {clean(run.run)}", palette.text),
                Segment(figures, palette.text),
            ]
            room = width - sum(part.cell_length for part in line) - 2
            yield [*line, Segment(f"  {fit(words, max(room, 0))}".rstrip(), palette.muted)]
        yield []
        for words in found.words:
            yield [Segment(fit(clean(words), width), palette.text)]
        yield []
        yield self._row("configuration", tuple(names), palette.title)
        if not found.differences:
            yield [Segment("no known setting differs", palette.muted)]
        for item in found.differences:
            cells = tuple(
                NOT_KNOWN if one is None else f"{clean(shown(one.value))} ({one.source})"
                for one in item.settings
            )
            yield self._row(item.key, cells, palette.text)
        yield []
        yield self._row("speed", tuple(names), palette.title)
        for title, texts in rows(found.speeds):
            if set(texts) != {NOT_KNOWN}:
                yield self._row(title, texts, palette.text)

    def _row(self, title: str, cells: tuple[str, ...], style: Style) -> Line:
        each = max((self.size.width - 2 - TITLE_WIDTH) // len(cells) - 1, 6)
        text = " ".join(fit(cell, each) for cell in cells)
        return [Segment(f"{fit(clean(title), TITLE_WIDTH)}{text}", style)]

    @on(PickList.Chosen, "#table")
    def open_run(self, event: PickList.Chosen) -> None:
        """``enter`` on one of the runs opens it."""
        at = int(event.key)
        if self._frame is not None and at < len(self._frame.comparison.runs):
            self.dashboard.open_run(self._frame.comparison.runs[at].path)

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        self._ask()
        self.show_hints()

    def action_back(self) -> None:
        self.app.pop_screen()

    def action_next_curve(self, by: int) -> None:
        chart = self._chart
        at = CURVES.index(chart.field)
        chart.set_field(CURVES[(at + by) % len(CURVES)])
        self._ask()

    def action_next_axis(self) -> None:
        """Over steps, or over the time since each run was created."""
        axis = self._chart.viewport.axis
        self._chart.look_at(Viewport("time" if axis == "step" else "step"))
        self._ask()

    def action_log_scale(self) -> None:
        self._chart.log_scale = not self._chart.log_scale
        self._chart.draw()

    def action_smooth(self) -> None:
        chart = self._chart
        at = SMOOTHINGS.index(chart.smoothing) if chart.smoothing in SMOOTHINGS else 0
        chart.smoothing = SMOOTHINGS[(at + 1) % len(SMOOTHINGS)]
        self._ask()

    def action_copy(self) -> None:
        command = shlex.join([PROGRAM, "compare", *self._names])
        self.dashboard.copy_text(command, command)
