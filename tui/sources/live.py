"""The real source: ``launcher.client``. Imported, and first used, in worker threads."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from launcher import client
from launcher.core.diagnosis.goodput import Goodput
from launcher.core.plan.model import Role
from launcher.core.run.metrics import DeviceRecord
from launcher.core.run.requests import (
    JobRequest,
    NoteRequest,
    RemoveRequest,
    Request,
    ResumeRequest,
    StacksRequest,
    StartRequest,
    StopRequest,
)
from launcher.errors import LaunchError, PreflightError
from tui.charts.curves import ChartMaker, SkewMaker
from tui.charts.late import LateMaker
from tui.logs.event_log import EventLog
from tui.logs.live_log import LiveLog
from tui.logs.log_source import LogSource
from tui.logs.merged_log import MergedLog, Part
from tui.logs.times_log import TimesLog
from tui.model.derived import evaluations, failure_of
from tui.model.run import ChartData, ChartRequest, FrameRequest, HomeView, RunFrame, SkewData
from tui.sources.comparison import LiveComparison
from tui.sources.source import PlanText, Player, SourceError

CHARTS_EVERY_S: Final = 0.9  # every fourth frame at 4 Hz
CHECKPOINTS_EVERY_S: Final = 5.0
GOODPUT_EVERY_S: Final = 5.0
GOODPUT_SHARE: Final = 0.02  # of the time at most: with 220,000 steps it takes a second
REPAIR_EVERY_S: Final = 15.0
HOME_LIMIT_S: Final = 0.1  # so that the first runs are seen at once
MAX_STRIP_RANKS: Final = 128


@contextmanager
def launcher_errors() -> Iterator[None]:
    """Raises the launcher's errors as the dashboard's, with their hints."""
    try:
        yield
    except LaunchError as problem:
        raise SourceError(str(problem)) from problem


class LiveRun:
    """One run directory, read as it grows. ``clock`` gives Unix seconds."""

    def __init__(
        self,
        reader: client.RunReader,
        clock: Callable[[], float] = time.time,
        repair: Callable[[], object] | None = None,
    ) -> None:
        self.player: Player | None = None
        self._repair = repair
        self._repair_due = time.monotonic() + REPAIR_EVERY_S
        self._repairing: threading.Thread | None = None
        self._reader = reader
        self._clock = clock
        self._charts = ChartMaker(reader.series)
        self._skew: tuple[int | None, SkewMaker] = None, SkewMaker(reader.series)
        self._late = LateMaker(partial(client.late_ranks_of, reader))
        self._charted: object = None
        self._charted_s = 0.0
        self._drawn: tuple[ChartData, ...] = ()
        self._checkpoints: tuple[client.CheckpointFacts, ...] = ()
        self._checkpoints_s = -CHECKPOINTS_EVERY_S
        self._goodput: Goodput | None = None
        self._goodput_of: tuple[int, int, float] | None = None
        self._goodput_due = 0.0

    def frame(self, request: FrameRequest) -> RunFrame:
        with launcher_errors():
            now = self._clock()
            snapshot = self._reader.poll(now, request.attempt)
            self._repair_if_lost(snapshot, now)
            nodes = [rank.node or "?" for rank in snapshot.ranks]
            late = SkewData()
            if snapshot.attempt is not None and len(nodes) <= MAX_STRIP_RANKS:
                strip = self._skew_of(snapshot.attempt if snapshot.is_earlier else None).strip
                late = strip(nodes, max(request.skew_bins, 40))
                late = self._late.explained(late, snapshot.attempt, snapshot.data_s, now)
            if snapshot.attempt_status is not client.RunStatus.RUNNING:
                late = replace(late, words=late.words.replace(" is ", " was ", 1))
            charts = self._newest_charts(request.charts, snapshot, now)
            checkpoints = self._newest_checkpoints(now)
            progress, memory = self._progress(snapshot), self._memory(snapshot)
            snapshot = replace(snapshot, goodput=self._newest_goodput(snapshot, now))
            return RunFrame(snapshot, charts, late, checkpoints, progress, memory)

    def _repair_if_lost(self, snapshot: client.RunSnapshot, now: float) -> None:
        """Where what keeps these files up to date has died, while somebody looks at them."""
        if self._repair is None or time.monotonic() < self._repair_due:
            return
        if self._repairing is not None and self._repairing.is_alive():
            return  # it may wait for a node that does not answer
        is_lost = any(job.lost_words for job in snapshot.state.jobs)
        if is_lost or (self._reader.link() is not None and self._reader.is_abandoned(now)):
            self._repair_due = time.monotonic() + REPAIR_EVERY_S
            self._repairing = threading.Thread(target=self._repair, name="repair", daemon=True)
            self._repairing.start()

    def _newest_charts(
        self, requests: tuple[ChartRequest, ...], snapshot: client.RunSnapshot, now: float
    ) -> tuple[ChartData, ...]:
        """Curves move slowly and cost most: they are made once a second, and when others are
        wanted or the run's state changes."""
        wanted = requests, snapshot.attempt, snapshot.status
        if wanted != self._charted or not 0 <= now - self._charted_s < CHARTS_EVERY_S:
            self._charted, self._charted_s = wanted, now
            rated = evaluations(snapshot)
            self._drawn = tuple(self._charts.chart(item, snapshot, rated) for item in requests)
        return self._drawn

    def _memory(self, snapshot: client.RunSnapshot) -> tuple[DeviceRecord, ...]:
        """Of the rank that was killed first, before its end."""
        failure = failure_of(snapshot)
        if failure is None or failure.rank is None or failure.signal != signal.SIGKILL:
            return ()
        until_s = snapshot.polled_s if failure.time is None else failure.time
        return self._reader.memory_before(failure.rank, until_s, snapshot.attempt)

    def _skew_of(self, attempt: int | None) -> SkewMaker:
        """Of an earlier attempt; ``None``: of the whole run."""
        if self._skew[0] != attempt:
            self._skew = attempt, SkewMaker(partial(self._reader.series, attempt=attempt))
        return self._skew[1]

    def _newest_checkpoints(self, now: float) -> tuple[client.CheckpointFacts, ...]:
        if abs(now - self._checkpoints_s) >= CHECKPOINTS_EVERY_S:
            self._checkpoints_s = now
            self._checkpoints = tuple(
                facts
                for facts in client.checkpoints(self._reader)
                if facts.manifest is not None and facts.file_bytes is not None
            )
        return self._checkpoints

    def _newest_goodput(self, snapshot: client.RunSnapshot, now: float) -> Goodput | None:
        """Not in the first frame, which people wait for."""
        state, began = snapshot.state, time.monotonic()
        end = 0.0 if snapshot.status.is_over else now
        known = state.last_n, len(state.attempts), end
        if self._goodput_of is None:
            self._goodput_of = -1, 0, 0.0
        elif known != self._goodput_of and began >= self._goodput_due:
            self._goodput, self._goodput_of = self._reader.goodput(now), known
            took = time.monotonic() - began
            self._goodput_due = began + max(GOODPUT_EVERY_S, took / GOODPUT_SHARE)
        return self._goodput

    def _progress(self, snapshot: client.RunSnapshot) -> dict[str, tuple[int, int]]:
        """Of each running job."""
        found = {}
        for job in snapshot.state.jobs:
            done = None if job.finished_s is not None else self._reader.job_progress(job.job)
            if done is not None:
                found[job.job] = (done.done, done.total)
        return found

    def log(self, rank: int, attempt: int | None = None) -> LogSource:
        with launcher_errors():
            return LiveLog(self._reader.log(rank, attempt))

    def merged_log(self, ranks: Sequence[int], attempt: int | None = None) -> LogSource:
        log, times = self._reader.log, self._reader.log_times
        with launcher_errors():
            return MergedLog([Part(at, log(at, attempt), times(at, attempt)) for at in ranks])

    def events(self, attempt: int | None = None) -> LogSource:
        return EventLog(client.GrowingLines(self._reader.paths.events), attempt)

    def times(self) -> LogSource:
        return TimesLog(lambda: self._goodput)

    def restart(self) -> client.ResumeChoice:
        """Reads and verifies the newest checkpoint, with a reader of its own."""
        with launcher_errors():
            return client.resume_choice(self._reader.paths.root)


class LiveSource:
    """Runs and profiles of this machine. `read_only`: not even a supervisor is replaced."""

    def __init__(self, read_only: bool = False) -> None:
        self._runs = client.RunList()
        self._read_only = read_only
        self._planned: dict[str, str] = {}  # the id in the newest plan, by profile

    def home(self) -> HomeView:
        with launcher_errors():
            profiles = tuple(entry for entry in client.list_profiles() if not entry.is_hidden)
            runs = tuple(self._runs.poll(limit_s=HOME_LIMIT_S))
            return HomeView(time.time(), runs, profiles, unread=self._runs.unread)

    def open(self, name: str) -> LiveRun:
        with launcher_errors():
            reader = client.open_run(name)
        if self._read_only:
            return LiveRun(reader)
        repair = partial(_repair, reader.paths.root)
        repair()
        return LiveRun(reader, repair=repair)

    def compare(self, names: Sequence[str]) -> LiveComparison:
        with launcher_errors():
            return LiveComparison([client.open_run(name) for name in names])

    def plan(self, profile: str, request: StartRequest) -> PlanText:
        with launcher_errors():
            plan = client.plan(profile, request)
            self._planned[profile] = plan.run
            return _sections(plan)

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        with launcher_errors():
            return client.expected(client.find_profile(profile))

    def preflight(
        self, profile: str, request: StartRequest, on_row: Callable[[client.Row], object]
    ) -> None:
        """Check all nodes. An unknown host is not confirmed here, so its row is red."""
        with launcher_errors():
            client.preflight(
                profile, settings=request.settings, data_path=request.data_path, on_row=on_row
            )

    def send(self, target: str, request: Request) -> str:
        with launcher_errors():
            if isinstance(request, StartRequest):
                # The screen has run the preflight and has shown the run's directory.
                command, name = (
                    request.command(target),
                    request.name or self._planned.pop(target, ""),
                )
                planned = replace(request, preflight=False, name=name)
                return client.start(target, planned, command=command)
            if isinstance(request, ResumeRequest):
                return _resume(target, request)
            if isinstance(request, JobRequest):
                return client.start_job(target, request)
            if isinstance(request, StopRequest):
                client.stop(target, request, by="effnet-tui")
                return "all ranks save, then exit" if request.save else "all ranks exit now"
            if isinstance(request, RemoveRequest):
                return _removed(target)
            if isinstance(request, StacksRequest):
                found = client.take_stacks(target)
                return "none were taken" if found is None else found.verdict.words
            if isinstance(request, NoteRequest):
                client.set_note(target, request.note)
                return "saved"
            raise SourceError(f"cannot {request.action} from here")


def _repair(root: Path) -> None:
    """Replaces what has died of the processes that keep a run's files up to date."""
    for replace_what_died in (client.connect, client.follow_jobs):
        with suppress(LaunchError):  # the screen shows how old the data is, and why
            replace_what_died(root)


def _removed(run: str) -> str:
    """Its directory, and its files on its nodes."""
    removed, problems = client.prune([run])
    if problems:
        raise SourceError("\n".join(problems))
    return f"{', '.join(removed)} removed"


def _resume(run: str, request: ResumeRequest) -> str:
    """A new attempt, if the preflight finds no problem."""
    try:
        choice = client.resume(run, request)
    except PreflightError as error:
        anyway = replace(request, ignore=(*request.ignore, *error.checks))
        words = f"To resume anyway: {shlex.join(anyway.command(run))}"
        raise SourceError("\n".join((error.message, *error.problems, words))) from None
    if choice.path is None:
        return "trains from scratch"
    return f"resumed from {choice.place}"


def _sections(plan: client.Plan) -> PlanText:
    sections: list[tuple[str, tuple[str, ...]]] = []
    about = [
        f"{plan.ranks_words}, start method {plan.start_method}, on {plan.device_target}",
        f"run directory {plan.run_directory}",
    ]
    if any(process.role is Role.SCHEDULER for process in plan.processes):
        port = f"port {plan.master_port}" if plan.master_port else "a free port"
        about.append(f"scheduler at {plan.master_address}, {port}")
    sections.append(("run", tuple(about)))
    sections += [
        (f"file {file.path}{file.where}", tuple(file.content.splitlines()[:40]))
        for file in plan.files
    ]
    for process in plan.processes:
        who = process.role.value if process.rank is None else f"rank {process.rank}"
        environment = tuple(f"  {key}={value}" for key, value in process.environment.items())
        lines = (shlex.join(process.argv), *environment)
        sections.append((f"{who} on {process.node}", lines))
    return tuple(sections)
