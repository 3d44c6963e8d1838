"""One run, polled: a live run, a replay and a finished run are read in the same way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any

from launcher.core.diagnosis.goodput import Goodput, goodput_of
from launcher.core.diagnosis.hang import step_limit_s
from launcher.core.diagnosis.stacks import StackDump
from launcher.core.profile.model import Limits
from launcher.core.run.eta import remaining_s
from launcher.core.run.events import parse_event
from launcher.core.run.fold import apply
from launcher.core.run.heartbeat import Phase
from launcher.core.run.info import RunInfo, parse_run_info
from launcher.core.run.paths import AttemptPaths, RunPaths
from launcher.core.run.report import parse
from launcher.core.run.report_types import Progress
from launcher.core.run.state import AttemptState, RunState, RunStatus, Silence
from launcher.errors import UsageError
from launcher.reading.attempt_files import limits_of, newest_stacks
from launcher.reading.curves import Curves
from launcher.reading.growing import FileMark, GrowingLines, mark, read_range
from launcher.reading.living.jobs import with_fates
from launcher.reading.living.processes import LIMIT_BYTES, Link, still_kept
from launcher.reading.living.status import Living
from launcher.reading.log import LogReader
from launcher.reading.log_times import LogTimes
from launcher.reading.memory import MEMORY_S, Samples, memory_samples
from launcher.reading.rank_files import LATENESS_REPORTS, RECENT, RankFiles, step_times_of
from launcher.reading.snapshot import RankSnapshot, RunSnapshot, Series, rank_status

OF_STATE = (
    *("node", "local_rank", "device", "pid"),
    *("silent_since_s", "exit_code", "signal", "exited_s"),
)
OF_REPORT = ("loss", "mean_loss", "step_time_ms", "wait_ms", "images_per_s", "learning_rate")
"""Fields that a snapshot has from a rank's state, and from its newest report."""

OF_LOAD = ("power_w", "temperature_c", "clock_mhz", "cpu_percent", "io_wait_percent")
"""Those of its newest load sample."""

OF_STEP = ("step_time_ms", "wait_ms", "images_per_s")
"""Those of a report that are not known while no step comes."""

STEPLESS = (Phase.INIT, Phase.COMPILE, Phase.CHECKPOINT, Phase.EVAL, Phase.EXPORT, Phase.DONE)
"""While a rank does this, no step is due."""


class RunReader:
    """A run directory. ``poll`` reads what is new."""

    def __init__(self, root: Path) -> None:
        self.paths = RunPaths(root)
        self.info: RunInfo | None = None
        self.state = RunState()
        self._info_mark: FileMark | None = None
        self._events = GrowingLines(self.paths.events)
        self._files: dict[int, RankFiles] = {}
        self._files_of_attempt = 0
        self._limits = Limits()
        self._curves = Curves(self.paths)
        self._living = Living(self.paths)
        self._fates: Mapping[str, str] = {}
        self._phase_since: dict[int, tuple[object, float]] = {}

    @property
    def run(self) -> str:
        """The run's id."""
        return self.state.run or (self.info.id if self.info else self.paths.root.name)

    def poll(self, now_s: float | None = None, attempt: int | None = None) -> RunSnapshot:
        """``now_s``: the reader's clock, in a replay that of the recording; ``attempt``: the one
        that ranks, steps and figures are of (the newest)."""
        now_s = _now(now_s)
        self.poll_state()
        self._fates = self._living.jobs(self.state, now_s)
        status = self.status(now_s)
        if self._fates or status is RunStatus.LOST:
            self.poll_state()  # who writes how a job or the run ended exits then
            status = self.status(now_s)
        known = {state.attempt: state for state in self.state.attempts}
        shown = known.get(attempt or 0, self.state.attempt)
        if shown is not None:
            self._poll_ranks(shown)
        return self._snapshot(shown, now_s, status)

    def poll_state(self) -> RunState:
        """The state alone: reads the new events and no rank's files."""
        changed = mark(self.paths.run)
        if self.info is None or changed != self._info_mark:
            self._info_mark = changed
            self.info = parse_run_info(read_range(self.paths.run, 0, LIMIT_BYTES))
        is_new, lines = self._events.poll()
        if is_new:
            self.state = RunState()
        for line in lines:
            if line.strip():
                self.state = apply(self.state, parse_event(line))
        return self.state

    def status(self, now_s: float | None = None) -> RunStatus:
        """``RunState.shown``, or ``lost``; checks processes once a second at most."""
        return self._living.status(self.state, _now(now_s))

    def wait_for_answer(self) -> None:
        """Waits until the supervisor and Slurm answer, or are known not to."""
        self._living.wait(self.state, time.time())

    @property
    def queue_words(self) -> str:
        """Why a run of Slurm waits, or why its job is not known, as `status` found it."""
        return self._living.queue_words

    @property
    def silence(self) -> Silence | None:
        """Of a supervisor that does not answer, as `status` found it."""
        return self._living.silence

    def is_abandoned(self, now_s: float | None = None) -> bool:
        """Whether the run is not over, and no process here supervises or copies it."""
        now_s = _now(now_s)
        if not self._living.is_abandoned(self.state, now_s):
            return False
        return self._living.is_abandoned(self.poll_state(), now_s)  # it may have ended meanwhile

    def link(self) -> Link | None:
        """For a run that is on its first node: whether that was reached; None for others."""
        return self._living.link()

    def series(self, rank: int, field: str, attempt: int | None = None) -> Series:
        """One field of one rank over the steps; ``None``: the whole run, attempts joined.

        The same object as before when nothing is new. Raises UsageError for an unknown field.
        """
        return self._curves.series(rank, field, self._attempts(attempt))

    def log(self, rank: int, attempt: int | None = None) -> LogReader:
        """A rank's log in an attempt (the newest)."""
        return LogReader(self._attempt_paths(attempt).rank(rank).log)

    def log_times(self, rank: int, attempt: int | None = None) -> LogTimes:
        """When the reports in that log were written."""
        return LogTimes(self._attempt_paths(attempt).rank(rank).metrics)

    def memory_before(self, rank: int, until_s: float, attempt: int | None = None) -> Samples:
        """The samples of a rank's memory in the minute before ``until_s``, oldest first."""
        path = self._attempt_paths(attempt).rank(rank).device
        return memory_samples(path, until_s - MEMORY_S, until_s)

    def scheduler_log(self, attempt: int | None = None) -> LogReader:
        """The log of the cluster's scheduler in an attempt (the newest)."""
        return LogReader(self._attempt_paths(attempt).scheduler_log)

    def stacks(self) -> StackDump | None:
        """The stacks that were taken last, in the newest attempt that has some."""
        return newest_stacks(self.paths, self.state)

    def goodput(self, now_s: float | None = None) -> Goodput:
        """Where the time of the run went. Reads all step reports of rank 0."""
        now_s = _now(now_s)
        paths = {item.attempt: self.paths.attempt(item.attempt) for item in self.state.attempts}
        reports = {number: step_times_of(attempt.rank(0)) for number, attempt in paths.items()}
        status = self.status(now_s)
        is_living = not (status.is_over or status is RunStatus.LOST)
        return goodput_of(self.state, reports, now_s if is_living else None)

    def supervisor_log(self) -> LogReader:
        """The supervisor's own log."""
        return LogReader(self.paths.supervisor_log)

    def job_log(self, job: str) -> LogReader:
        """The log of an eval, export or infer job. Raises UsageError for an unknown job."""
        if all(known.job != job for known in self.state.jobs):
            known_jobs = ", ".join(known.job for known in self.state.jobs) or "none"
            raise UsageError(f"no job {job!r}", f"jobs of this run: {known_jobs}")
        return LogReader(self.paths.job(job).log)

    def job_progress(self, job: str) -> Progress | None:
        """The newest progress in a job's log."""
        for line in reversed(self.job_log(job).tail(20, max_bytes=16 * 1024).lines):
            report = parse(line.text)
            if isinstance(report, Progress):
                return report
        return None

    def _attempt_paths(self, attempt: int | None) -> AttemptPaths:
        return self.paths.attempt(self._attempts(attempt)[-1])

    def _attempts(self, attempt: int | None) -> tuple[int, ...]:
        if attempt is not None:
            if attempt < 1:
                raise UsageError(f"no attempt {attempt}", "attempts count from 1")
            return (attempt,)
        return tuple(item.attempt for item in self.state.attempts) or (1,)

    def _poll_ranks(self, attempt: AttemptState) -> None:
        if attempt.attempt != self._files_of_attempt:
            self._files_of_attempt = attempt.attempt
            self._files = {}
            self._phase_since = {}
            self._limits = limits_of(self.paths, attempt.attempt)
        paths = self.paths.attempt(attempt.attempt)
        for rank in range(attempt.world_size):
            if rank not in self._files:
                # Rates are rank 0's; of others, and of a run that is over, only lateness.
                count = LATENESS_REPORTS if rank or self.state.status.is_over else RECENT
                self._files[rank] = RankFiles(paths.rank(rank), count)
            self._files[rank].poll()

    def _snapshot(
        self, attempt: AttemptState | None, now_s: float, status: RunStatus
    ) -> RunSnapshot:
        link = self.link()
        is_over = status.is_over or (attempt is not None and attempt is not self.state.attempt)
        away = {} if attempt is None or is_over else dict(attempt.unreachable)
        if link is not None and link.trouble and link.time_s and not is_over:
            away[link.node] = link.time_s
        known = RunSnapshot(
            run=self.run,
            path=str(self.paths.root),
            profile=self.state.profile or (self.info.profile if self.info else ""),
            status=status,
            state=with_fates(self.state, self._fates),
            polled_s=now_s,
            is_supervised=self._living.is_supervised,
            supervisor_silent=self.silence,
            queue_words=self.queue_words,
            hang=None if is_over or status is RunStatus.LOST else self.state.hang,
            world_size=self.state.world_size or (self.info.world_size if self.info else 0),
            created_s=self.state.created_s or (self.info.created if self.info else None),
            info=self.info,
            unreachable=away,
            kept=still_kept(self.state, now_s, is_copy=link is not None),
        )
        if attempt is None:
            return known
        # All data of a run on its first node come through that one.
        is_cut_off = link is not None and (link.node in away or not self._living.is_supervised)
        ranks = self._ranks(attempt, is_over or status is RunStatus.LOST)
        if not is_over and (is_cut_off or away):
            ranks = tuple(replace(rank, is_stale=is_cut_off or rank.node in away) for rank in ranks)
        return self._with_attempt(known, attempt, ranks)

    def _with_attempt(
        self, known: RunSnapshot, attempt: AttemptState, ranks: tuple[RankSnapshot, ...]
    ) -> RunSnapshot:
        # Loss and throughput of rank 0 are those of the run.
        files = self._files.get(0)
        first = ranks[0] if ranks else RankSnapshot(0)
        done = _first(
            attempt.step,
            max((rank.steps_done for rank in ranks if rank.steps_done is not None), default=None),
            attempt.resume.step if attempt.resume else None,
        )
        length, epochs = attempt.steps_per_epoch, attempt.epochs
        total = length * epochs if length and epochs else None
        left_s = remaining_s(self.state, done, files.step_s if files else None)
        is_newest = attempt is self.state.attempt
        is_running = is_newest and known.status is RunStatus.RUNNING
        is_stalled = is_running and self._is_stalled(ranks, known.polled_s)
        is_stalled = is_stalled or (is_newest and known.status is RunStatus.HUNG)
        is_moving = is_running and not is_stalled
        return replace(
            known,
            attempt=attempt.attempt,
            ranks=ranks,
            started_s=attempt.started_s,
            ended_s=attempt.ended_s,
            epoch=done // length if done is not None and length else first.epoch,
            epochs=epochs,
            step=done % length if done is not None and length else first.step,
            steps_per_epoch=length,
            steps_done=done,
            steps_total=total,
            progress=done / total if total and done is not None else None,
            eta_s=left_s if is_moving else None,
            is_stalled=is_stalled,
            **_values(files and files.last, OF_REPORT)
            | (dict.fromkeys(OF_STEP) if is_stalled else {}),
            step_s=max((rank.step_s for rank in ranks if rank.step_s is not None), default=None),
            data_s=max((rank.data_s for rank in ranks if rank.data_s is not None), default=None),
        )

    def _is_stalled(self, ranks: tuple[RankSnapshot, ...], now_s: float) -> bool:
        """Whether no step has come for longer than is usual in this run."""
        if all(rank.is_stale for rank in ranks):
            return True
        usual_s = self._files[0].interval_s if 0 in self._files else None
        if usual_s is None or any(rank.phase in STEPLESS for rank in ranks):
            return False
        quiet = (files.quiet_s(now_s) for files in self._files.values())
        least_s = min((time_s for time_s in quiet if time_s is not None), default=0.0)
        return least_s > step_limit_s(self._limits, usual_s)

    def _ranks(self, attempt: AttemptState, is_over: bool) -> tuple[RankSnapshot, ...]:
        busy = {rank: files.busy_ms for rank, files in self._files.items()}
        known = [value for value in busy.values() if value is not None]
        # Of two ranks the faster one: compared to the mean, the other would be half as late.
        typical = median_low(known) if len(known) > 1 else None
        return tuple(
            self._rank(attempt, is_over, rank, files, busy[rank], typical)
            for rank, files in sorted(self._files.items())
        )

    def _rank(
        self,
        attempt: AttemptState,
        is_over: bool,
        rank: int,
        files: RankFiles,
        busy_ms: float | None,
        typical_ms: float | None,
    ) -> RankSnapshot:
        state, last, beat, device = attempt.rank(rank), files.last, files.heartbeat, files.device
        # Of a rank that has ended, what its chart shows last.
        memory = device and device.used_bytes, last and last.memory_bytes
        failure = attempt.failure
        length = attempt.steps_per_epoch
        reported = None if last is None else last.global_step
        steps = [beat.steps_done] if beat else []
        steps += [] if reported is None else [reported + 1]
        since_s = None
        if beat is not None:
            phase_key = (beat.phase, beat.steps_done)
            before = self._phase_since.get(rank)
            since_s = before[1] if before and before[0] == phase_key else beat.time_s
            self._phase_since[rank] = (phase_key, since_s)
        in_epoch = reported % length if reported is not None and length else reported
        late = None if busy_ms is None or typical_ms is None else busy_ms - typical_ms
        rate = None if last is None else last.images_per_s  # of all ranks
        own_rate = None if rate is None else rate / attempt.world_size
        return RankSnapshot(
            rank=rank,
            status=rank_status(state, attempt, is_over),
            phase=beat.phase if beat else None,
            phase_since_s=since_s,
            step=in_epoch,
            steps_done=max(steps, default=None),
            busy_ms=busy_ms,
            lateness_ms=late,
            memory_bytes=_first(
                *(memory if state is None or not state.has_exited else memory[::-1])
            ),
            memory_limit_bytes=device.limit_bytes if device else None,
            device_use_percent=device.use_percent if device else None,
            **_values(files.load, OF_LOAD),
            log_bytes=files.log_bytes,
            data_s=files.data_s,
            step_s=None if last is None else last.time_s,
            is_first_failure=failure is not None and failure.rank == rank,
            **_values(state, OF_STATE),
            **{**_values(last, ("epoch", *OF_REPORT)), "images_per_s": own_rate},
        )


def _values(source: object | None, names: Iterable[str]) -> dict[str, Any]:
    return {name: None if source is None else getattr(source, name) for name in names}


def _now(now_s: float | None) -> float:
    return time.time() if now_s is None else now_s


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
