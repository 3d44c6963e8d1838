"""The real source: ``launcher.client``. Imported, and first used, in worker threads."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from launcher import client
from launcher.core.plan.model import Role
from launcher.errors import LaunchError, PreflightError
from tui.charts.curves import ChartMaker, SeriesLike, SkewMaker
from tui.logs.live_log import LiveLog
from tui.logs.log_source import LogSource
from tui.logs.merged_log import MergedLog, Part
from tui.model.checks import Check
from tui.model.derived import evaluations
from tui.model.run import FrameRequest, HomeView, RunFrame, SkewData
from tui.sources.source import (
    DATA_PATH,
    IGNORE,
    NO,
    SAVE,
    SHARE_DEVICE,
    YES,
    PlanText,
    Player,
    SourceError,
)

CHECKPOINTS_EVERY_S: Final = 5.0
MAX_STRIP_RANKS: Final = 128


@contextmanager
def told() -> Iterator[None]:
    """The launcher's errors as the dashboard's, with their hints."""
    try:
        yield
    except LaunchError as problem:
        raise SourceError(str(problem)) from problem


class LiveRun:
    """One run directory, read as it grows. ``clock`` gives Unix seconds."""

    def __init__(self, reader: client.RunReader, clock: Callable[[], float] = time.time) -> None:
        self.player: Player | None = None
        self._reader = reader
        self._clock = clock
        self._charts = ChartMaker(self)
        self._skew = SkewMaker(self)
        self._checkpoints: tuple[client.CheckpointFacts, ...] = ()
        self._checkpoints_s = -CHECKPOINTS_EVERY_S

    def series(self, rank: int, field: str) -> SeriesLike:
        """All attempts joined."""
        return self._reader.series(rank, field)

    def frame(self, request: FrameRequest) -> RunFrame:
        """One poll."""
        with told():
            now = self._clock()
            snapshot = self._reader.poll(now)
            nodes = [rank.node or "?" for rank in snapshot.ranks]
            late = SkewData()
            if snapshot.attempt is not None and len(nodes) <= MAX_STRIP_RANKS:
                late = self._skew.strip(nodes, max(request.skew_bins, 40))
            if snapshot.status is not client.RunStatus.RUNNING:
                late = replace(late, words=late.words.replace(" is ", " was ", 1))
            rated = evaluations(snapshot)
            charts = tuple(self._charts.chart(chart, len(nodes), rated) for chart in request.charts)
            checkpoints = self._newest_checkpoints(now)
            return RunFrame(snapshot, charts, late, checkpoints, self._progress(snapshot))

    def _newest_checkpoints(self, now: float) -> tuple[client.CheckpointFacts, ...]:
        if abs(now - self._checkpoints_s) >= CHECKPOINTS_EVERY_S:
            self._checkpoints_s = now
            self._checkpoints = tuple(
                facts
                for facts in client.checkpoints(self._reader)
                if facts.manifest is not None and facts.file_bytes is not None
            )
        return self._checkpoints

    def _progress(self, snapshot: client.RunSnapshot) -> dict[str, tuple[int, int]]:
        """Of each running job."""
        found = {}
        for job in snapshot.state.jobs:
            done = None if job.finished_s is not None else self._reader.job_progress(job.job)
            if done is not None:
                found[job.job] = (done.done, done.total)
        return found

    def log(self, rank: int | None) -> LogSource:
        """A rank's log, or the supervisor's."""
        with told():
            reader = self._reader.supervisor_log() if rank is None else self._reader.log(rank)
            return LiveLog(reader)

    def merged_log(self, ranks: Sequence[int]) -> LogSource:
        """Several ranks' logs as one."""
        with told():
            return MergedLog(
                [Part(rank, self._reader.log(rank), self._reader.log_times(rank)) for rank in ranks]
            )

    def restart(self) -> client.ResumeChoice:
        """Reads and verifies the newest checkpoint, with a reader of its own."""
        with told():
            return client.resume_choice(self._reader.paths.root)


class LiveSource:
    """Runs and profiles of this machine."""

    def __init__(self) -> None:
        self._runs = client.RunList()

    def home(self) -> HomeView:
        """Runs, living ones first, and profiles."""
        with told():
            profiles = tuple(entry for entry in client.list_profiles() if not entry.is_hidden)
            return HomeView(time.time(), tuple(self._runs.poll()), profiles)

    def open(self, name: str) -> LiveRun:
        """A run by id, unique prefix, path or ``latest``."""
        with told():
            reader = client.open_run(name)
        with suppress(LaunchError):  # its age is shown, and why
            client.connect(reader)
        return LiveRun(reader)

    def plan(self, profile: str, overrides: Mapping[str, str]) -> PlanText:
        """What a start would write and run."""
        with told():
            plan = client.plan(profile, _start_request(overrides))
            return PlanText(_sections(plan), self.command("start", profile, overrides))

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        """(check, node) of every row to come."""
        with told():
            return client.expected(client.find_profile(profile))

    def preflight(
        self, profile: str, overrides: Mapping[str, str], take: Callable[[Check], object]
    ) -> None:
        """Ask all nodes; nobody is asked about an unknown host, so its row is red."""
        request = _start_request(overrides)

        def taken(row: client.Row) -> None:
            take(Check(row.check, row.node, row.state.value, row.text, row.hint))

        with told():
            client.preflight(
                profile, settings=request.settings, data_path=request.data_path, on_row=taken
            )

    def start(self, profile: str, overrides: Mapping[str, str]) -> str:
        """The new run's id. The screen has run the preflight."""
        request = _start_request(overrides)
        with told():
            command = request.command(profile)
            return client.start(profile, replace(request, preflight=False), command=command)

    def stop(self, run: str, save: bool) -> str:
        """Ask; the supervisor ends it and verifies."""
        with told():
            client.stop(run, client.StopRequest(save=save), by="effnet-tui")
        return "all ranks save, then end" if save else "all ranks end now"

    def resume(self, run: str) -> str:
        """A new attempt from the newest complete checkpoint, if the preflight finds no problem."""
        failed: list[str] = []

        def on_rows(rows: Sequence[client.Row]) -> None:
            failed[:] = dict.fromkeys(row.check for row in client.blocking(rows))

        with told():
            try:
                choice = client.resume(run, on_rows=on_rows)
            except PreflightError as error:
                words = shlex.join(client.ResumeRequest(ignore=tuple(failed)).command(run))
                text = "\n".join((error.message, *error.problems, f"To resume anyway: {words}"))
                raise SourceError(text) from None
        return f"continues from epoch {choice.epoch} step {choice.step}"

    def start_job(self, run: str, kind: str, options: Mapping[str, str]) -> str:
        """The job's id."""
        with told():
            return client.start_job(run, _job_request(kind, options))

    def command(self, action: str, target: str, options: Mapping[str, str]) -> str:
        """To show and to copy."""
        with told():
            return _words(action, target, options)


def _start_request(overrides: Mapping[str, str]) -> client.StartRequest:
    """Training keys, and the data folder and ignored checks, which are none."""
    return client.StartRequest(
        settings=tuple(
            (key, value) for key, value in overrides.items() if key not in (DATA_PATH, IGNORE)
        ),
        data_path=overrides.get(DATA_PATH, ""),
        ignore=tuple(overrides.get(IGNORE, "").split()),
    )


def _job_request(kind: str, options: Mapping[str, str]) -> client.JobRequest:
    values: dict[str, Any] = {**options, SHARE_DEVICE: options.get(SHARE_DEVICE) == YES}
    return client.JobRequest(kind, **values)


def _words(action: str, target: str, options: Mapping[str, str]) -> str:
    request: client.Request
    if action == "start":
        request = _start_request(options)
    elif action == "resume":
        request = client.ResumeRequest()
    elif action == "stop":
        request = client.StopRequest(save=options.get(SAVE) != NO)
    else:
        request = _job_request(action, options)
    return shlex.join(request.command(target))


def _sections(plan: client.Plan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    sections: list[tuple[str, tuple[str, ...]]] = []
    about = [
        f"{plan.world_size} ranks, start method {plan.start_method}, on {plan.device_target}",
        f"run directory {plan.run_directory}",
    ]
    if any(process.role is Role.SCHEDULER for process in plan.processes):
        port = f"port {plan.master_port}" if plan.master_port else "a free port"
        about.append(f"scheduler at {plan.master_address}, {port}")
    sections.append(("run", tuple(about)))
    for file in plan.files:
        where = f" on {file.node}" if file.node else ""
        sections.append((f"file {file.path}{where}", tuple(file.content.splitlines()[:40])))
    for process in plan.processes:
        who = process.role.value if process.rank is None else f"rank {process.rank}"
        environment = tuple(f"  {key}={value}" for key, value in process.environment.items())
        lines = (shlex.join(process.argv), *environment)
        sections.append((f"{who} on {process.node}", lines))
    return tuple(sections)
