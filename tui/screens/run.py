"""The run screen: one run, from its state to its last log line."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from launcher.core.run.requests import ResumeRequest
from tui.drawing.wording import is_job_bad, job_words, restart_words
from tui.model.derived import failure_of, is_live, job_state
from tui.model.run import RunFrame
from tui.screens.base import when_composed
from tui.screens.request import RequestScreen
from tui.screens.run_actions import RunActions
from tui.sources.feed import LogFeed, RunFeed
from tui.sources.messages import RestartChosen, RunPolled, SourceFailed
from tui.sources.source import Player
from tui.widgets.failure_card import FailureCard
from tui.widgets.hint_bar import Hint
from tui.widgets.log_view import LogView
from tui.widgets.note_card import NoteCard
from tui.widgets.rank_table import RankTable
from tui.widgets.run_header import RunHeader

LOG_PERIOD_S = 0.25
ENDED = ("done", "failed")  # states of a job
OVER_PERIOD_S = 2.0  # a run that is over is still polled: it may be resumed


class RunScreen(RunActions):
    """Everything about one run: what comes from its feeds, and drawing it."""

    BINDING_GROUP_TITLE = "Run"
    HELP = "One run. q quits, the run continues; s stops the run after a question."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Runs"),
        Binding("p", "pause", "Pause display", show=False),
        Binding("comma", "seek(-60)", "Back 1 min", show=False),
        Binding("full_stop", "seek(60)", "Forward 1 min", show=False),
        Binding("less_than_sign", "speed(-1)", "Slower", show=False),
        Binding("greater_than_sign", "speed(1)", "Faster", show=False),
        Binding("R", "next_rate", "Refresh rate", show=False),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_name = run
        self._over = False
        self._paused = False
        self._problem = ""
        self._polled_at = 0.0
        self._seen_failure: object = None
        self._jobs: dict[str, str] | None = None  # states, by id; None before the first frame

    @when_composed
    def on_mount(self) -> None:
        # For the threads: a screen that was removed has no app.
        source, name, pace = self.dashboard.source, self.run_name, self.dashboard.pace

        def period_s() -> float:
            return OVER_PERIOD_S if self._over else pace.period_s

        self.feed = RunFeed(self, lambda: source.open(name), period_s)
        self.log_feed = LogFeed(self, lambda: max(LOG_PERIOD_S, period_s()))
        self.query_one(RankTable).focus()
        self._arrange()
        self.feed.start()
        self.log_feed.start()
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        if self.log_feed is not None:
            self.log_feed.end()

    @property
    def player(self) -> Player | None:
        """The controls of a replay."""
        return None if self.source is None else self.source.player

    def refusal(self, action: str, parameters: tuple[object, ...]) -> str:
        if action in ("seek", "speed"):
            return "" if self.player is not None else f"only in effnet-tui --replay {self.run_name}"
        return super().refusal(action, parameters)

    def hints(self) -> list[Hint]:
        """In a replay, its own keys first."""
        if self.player is None:
            return super().hints()
        keys = [("p", "Play/pause"), (", .", "1 min back/forward"), ("< >", "Speed")]
        return [*keys, *super().hints()]

    # -- what comes from the feeds

    def on_run_polled(self, message: RunPolled) -> None:
        self._polled_at = self.dashboard.clock()
        self._problem = ""
        self._over = not is_live(message.frame.snapshot.status) and self.player is None
        first = self.frame is None
        if not self._paused:
            before, self.frame = self.frame, message.frame
            if before is None or self._shape(before) != self._shape(message.frame):
                self._arrange()
                self.call_after_refresh(self.show_hints)
            self._draw()
            # Sizes may change after each layout; this does nothing when they have not.
            self._ask()
        if first or self.log_rank is None:
            self.open_log()
        elif message.frame.snapshot.attempt != self.log_attempt:
            self.open_log(None if message.frame.snapshot.is_earlier else self.log_rank)
        self.name_log()
        self._note_failure(message.frame)
        self._note_jobs(message.frame)
        self.show_results()
        self.dashboard.raise_alerts(message.frame)
        self.answer_feed()

    def on_source_failed(self, message: SourceFailed) -> None:
        """Keep the last frame; the header shows its age and the problem."""
        if self.frame is None and self.source is None:
            self.app.notify(message.problem, severity="error", timeout=10)
            self.dismiss()
            return
        self._problem = message.problem
        self._draw()
        self.answer_feed()
        if self.log_feed is not None:
            self.log_feed.drawn()

    def on_restart_chosen(self, message: RestartChosen) -> None:
        self.restart = message.restart
        self._draw()
        form = self.app.screen
        if isinstance(form, RequestScreen) and isinstance(form.request, ResumeRequest):
            form.show_about(restart_words(message.restart))

    def _note_failure(self, frame: RunFrame) -> None:
        run = frame.snapshot
        newest = run.state.attempt and run.state.attempt.attempt
        mark = (newest, run.status) if run.status in ("failed", "lost") else None
        if mark == self._seen_failure:
            return
        was_running = self._seen_failure is None
        self._seen_failure = mark
        self.restart = None
        if mark is not None:
            self.look_for_restart()
            # Somebody who is reading the log keeps their place.
            if was_running and not (run.is_earlier or isinstance(self.focused, LogView)):
                self.open_log()
        self.show_hints()

    def _note_jobs(self, frame: RunFrame) -> None:
        """Report a job that ended since the run was opened."""
        jobs = frame.snapshot.state.jobs
        before, self._jobs = self._jobs, {job.job: job_state(job) for job in jobs}
        if before is None:
            return
        for job in jobs:
            # One that was not there before may have been quicker than a poll.
            if job.finished_s is not None and before.get(job.job) not in ENDED:
                self.notify(
                    job_words(job, frame),
                    severity="error" if is_job_bad(job) else "information",
                    timeout=20,
                )

    @staticmethod
    def _shape(frame: RunFrame) -> tuple[object, ...]:
        run = frame.snapshot
        cards = failure_of(run) is not None, run.hang is not None
        return len(run.ranks), *cards, run.status, run.attempt, bool(frame.checkpoints)

    def _tick(self) -> None:
        # The header's age grows although no frame comes.
        if self.dashboard.clock() - self._polled_at > self._late_s:
            self._draw_header()

    @property
    def _late_s(self) -> float:
        """After so long without a frame, its age is shown."""
        return OVER_PERIOD_S + 1.0 if self._over else 1.5

    # -- drawing

    def draw_again(self) -> None:
        super().draw_again()
        if self.is_mounted:
            self._arrange()
            self._draw()

    def _draw_header(self) -> None:
        frame = self.frame
        if frame is None:
            return
        waited = max(self.dashboard.clock() - self._polled_at, 0.0)
        badge = (self.player or self.dashboard.pace).badge
        if self._paused:
            badge = "display paused (p)"
        elif self._problem:
            badge = self._problem[:40]
        elif self.dashboard.read_only and self.player is None:
            badge = f"read-only  {badge}"
        self.query_one(RunHeader).show(frame, badge, waited if waited > self._late_s else 0.0)

    def _draw(self) -> None:
        frame = self.frame
        if frame is None:
            return
        self._draw_header()
        self.query_one(FailureCard).show(frame, self.restart, self.player is not None)
        self.query_one(NoteCard).show(frame.snapshot)
        self.query_one(RankTable).show(frame)
        self._show_chosen()
        for strip in self._strips:
            if strip.display:
                strip.show(frame.skew)
        by_field = {data.field: data for data in frame.charts}
        for chart in self._charts:
            data = by_field.get(chart.field.name)
            if data is not None and chart.display:
                chart.show(data)

    def action_back(self) -> None:
        """End the log's search, the zoom, the look at an earlier attempt; then go to Home."""
        if self.clears_log():
            return
        if self._zoom:
            self.action_zoom()
        elif self.attempt is not None:
            self.show_attempt(None)
        else:
            self.dismiss()

    def action_pause(self) -> None:
        """Freeze the screen; polling continues. A replay stops."""
        if self.player is not None:
            self.player.pause()
            self.poll_now()
            return
        self._paused = not self._paused
        self._draw()

    def action_seek(self, by_s: float) -> None:
        if self.player is not None:
            self.player.seek(by_s)
            self.poll_now()

    def action_speed(self, by: int) -> None:
        if self.player is not None:
            self.player.faster(by)
            self.poll_now()

    def action_next_rate(self) -> None:
        self.dashboard.pace.choose_next()
        self._draw_header()
