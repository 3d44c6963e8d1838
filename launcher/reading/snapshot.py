"""What a client knows about a run at one moment; ``None`` is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from launcher.core.diagnosis.goodput import Goodput
from launcher.core.diagnosis.lateness import LateRank
from launcher.core.diagnosis.words import cause
from launcher.core.run.events import Failure
from launcher.core.run.heartbeat import Phase
from launcher.core.run.info import RunInfo
from launcher.core.run.nodes import KeptState
from launcher.core.run.outcome import Outcome, outcome_of
from launcher.core.run.state import (
    AttemptState,
    Hang,
    RankState,
    RunState,
    RunStatus,
    Silence,
)


class RankStatus(str, Enum):
    """The state of a rank in its attempt."""

    WAITING = "waiting"
    """Not started yet."""
    RUNNING = "running"
    SILENT = "silent"
    FAILED = "failed"
    """Ended with a signal or an exit code other than 0, or without either."""
    STOPPED = "stopped"
    """Ended so because the run was stopped, or after another rank had failed first; or the run is
    over, and nothing reported its end."""
    ENDED = "ended"
    """Ended with exit code 0."""


def rank_status(state: RankState | None, attempt: AttemptState, is_over: bool) -> RankStatus:
    """How a rank of an attempt is shown, from its events; ``is_over``: nothing of it runs."""
    if state is None:
        return RankStatus.WAITING
    if state.has_exited or is_over:
        if state.was_done or (state.signal is None and state.exit_code == 0):
            return RankStatus.ENDED
        failure = attempt.failure
        if failure is None:
            was_stopped = attempt.status in (RunStatus.STOPPING, RunStatus.STOPPED)
            was_stopped = was_stopped or not state.has_exited
        else:
            was_stopped = failure.rank != state.rank
        return RankStatus.STOPPED if was_stopped else RankStatus.FAILED
    return RankStatus.RUNNING if state.silent_since_s is None else RankStatus.SILENT


@dataclass(frozen=True)
class RankSnapshot:
    """One rank of the newest attempt.

    ``epoch`` and ``step`` count from 0 and are those of the newest report, ``step`` within its
    epoch; ``steps_done`` counts over all epochs. ``lateness_ms`` is how much longer this rank's own
    work (step time − wait) takes than the median rank's, over its last reports. ``data_s`` is when
    its newest sign of life came (report, heartbeat, log line or device sample; Unix seconds),
    ``step_s`` when its newest report did.
    ``is_stale``: its node does not answer, so that it may be in another state by now.
    """

    rank: int
    status: RankStatus = RankStatus.WAITING
    node: str | None = None
    local_rank: int | None = None
    device: int | None = None
    pid: int | None = None
    phase: Phase | None = None
    phase_since_s: float | None = None
    epoch: int | None = None
    step: int | None = None
    steps_done: int | None = None
    loss: float | None = None
    mean_loss: float | None = None
    step_time_ms: float | None = None
    wait_ms: float | None = None
    busy_ms: float | None = None
    lateness_ms: float | None = None
    images_per_s: float | None = None
    learning_rate: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    device_use_percent: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    cpu_percent: float | None = None
    io_wait_percent: float | None = None
    log_bytes: int = 0
    data_s: float | None = None
    step_s: float | None = None
    silent_since_s: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    exited_s: float | None = None
    is_first_failure: bool = False
    is_stale: bool = False

    def age_s(self, now_s: float) -> float | None:
        """Age of the newest step; a clock that is behind gives 0."""
        return None if self.step_s is None else max(0.0, now_s - self.step_s)


@dataclass(frozen=True)
class RunSnapshot:
    """One run at ``polled_s``; its ranks, steps and figures are of one ``attempt``.

    ``epoch`` is the one being trained, from 0; ``step`` counts within it what is done, and
    ``steps_done`` over all epochs. ``progress`` is 0 … 1. ``is_supervised``: a supervisor of this
    machine is there; ``supervisor_silent``: it is there and does not answer.
    ``status`` is ``lost`` when the run is not over by its events, and neither its supervisor nor
    any of its processes is there. ``hang``: its silent ranks. ``is_stalled``: no step has come for
    longer than is usual in this run; ``eta_s``, ``images_per_s`` and the times of a step are then
    not known. ``unreachable``: nodes that do not answer -> Unix time of their last sign of life;
    empty once the run is over.
    """

    run: str
    path: str
    profile: str
    status: RunStatus
    state: RunState
    polled_s: float
    is_supervised: bool = False
    supervisor_silent: Silence | None = None
    queue_words: str = ""
    """Of a run of Slurm that is not over: why it waits, or why its job is not known."""
    kept: KeptState | None = None
    """What a failed run keeps for its next attempt now."""
    attempt: int | None = None
    world_size: int = 0
    ranks: tuple[RankSnapshot, ...] = ()
    created_s: float | None = None
    info: RunInfo | None = None
    started_s: float | None = None
    ended_s: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps_per_epoch: int | None = None
    steps_done: int | None = None
    steps_total: int | None = None
    progress: float | None = None
    eta_s: float | None = None
    loss: float | None = None
    mean_loss: float | None = None
    step_time_ms: float | None = None
    wait_ms: float | None = None
    images_per_s: float | None = None
    learning_rate: float | None = None
    data_s: float | None = None
    step_s: float | None = None
    hang: Hang | None = None
    is_stalled: bool = False
    unreachable: Mapping[str, float] = field(default_factory=dict)
    goodput: Goodput | None = None
    """Where its time went, where the reader was asked for that."""
    late_ranks: tuple[LateRank, ...] = ()
    """Those that are late, and why, where the reader was asked for that."""

    @property
    def shown(self) -> AttemptState | None:
        """The attempt that the ranks, the steps and the figures are of."""
        wanted = (known for known in self.state.attempts if known.attempt == self.attempt)
        return next(wanted, None)

    @property
    def is_earlier(self) -> bool:
        """Whether that is not the newest attempt."""
        return self.shown is not None and self.shown is not self.state.attempt

    @property
    def attempt_status(self) -> RunStatus:
        """The state of that attempt; an earlier one is ``lost`` when nothing wrote its end."""
        if not self.is_earlier or self.shown is None:
            return self.status
        return self.shown.status if self.shown.status.is_over else RunStatus.LOST

    @property
    def failure(self) -> Failure | None:
        """Why the newest attempt failed."""
        return self.state.failure

    @property
    def changed_s(self) -> float | None:
        """When the newest event was written."""
        return self.state.changed_s

    @property
    def cause(self) -> str:
        """Why the newest attempt failed, or why Slurm ended the run before it; empty when not."""
        if self.status is RunStatus.STOPPED and self.state.stop_by is None:
            return self.state.slurm_why
        return "" if self.failure is None else cause(self.failure)

    @property
    def kept_until_s(self) -> float | None:
        """Until when a failed run keeps something for its next attempt."""
        return None if self.kept is None else self.kept.until_s

    @property
    def best_top_1(self) -> float | None:
        """The highest top-1 accuracy of all evaluations, 0 to 1."""
        return self.outcome.best_top_1

    @property
    def outcome(self) -> Outcome:
        """What it has come to so far."""
        return outcome_of(len(self.state.attempts), self.duration_s, self.state.evals)

    @property
    def duration_s(self) -> float | None:
        """The time of all attempts; of one whose end is not known, to its newest sign of life."""
        total = None
        for attempt in self.state.attempts:
            end_s = attempt.ended_s
            if end_s is None and attempt is self.state.attempt:
                is_there = not self.status.is_over and self.status is not RunStatus.LOST
                end_s = self.polled_s if is_there else self.data_s
            if end_s is not None:
                total = (total or 0.0) + max(0.0, end_s - attempt.started_s)
        return total

    @property
    def position(self) -> tuple[int | None, int | None]:
        """Epoch, from 0, and steps done in it; at the end the last epoch is full."""
        epoch, step = self.epoch, self.step
        if step == 0 and epoch and epoch == self.epochs and self.steps_per_epoch:
            return epoch - 1, self.steps_per_epoch
        return epoch, step

    @property
    def note(self) -> str:
        """Why the run was made."""
        return "" if self.info is None else self.info.start.note

    @property
    def stopped_by(self) -> str | None:
        """Who stopped it; `None` where it did not end by that."""
        return self.state.stop_by if self.status is RunStatus.STOPPED else None

    @property
    def is_watched(self) -> bool:
        """Whether another launcher started it: it can only be read."""
        return self.info is not None and self.info.is_watched

    @property
    def runs_script(self) -> bool:
        """Whether it trains with a script of its own, not with the bundled trainer."""
        return self.info is not None and self.info.runs_script

    @property
    def age_s(self) -> float | None:
        """Age of the newest step of any rank."""
        return None if self.step_s is None else max(0.0, self.polled_s - self.step_s)

    def why_unreachable(self, node: str) -> str:
        """What SSH reported of a node that does not answer; empty when that is not known."""
        attempt = self.state.attempt
        return "" if attempt is None else attempt.why_unreachable.get(node, "")

    def rank(self, rank: int) -> RankSnapshot | None:
        """One rank; ``None`` when the run has no such rank."""
        return self.ranks[rank] if 0 <= rank < len(self.ranks) else None


@dataclass(frozen=True)
class Series:
    """One field of one rank over the steps; points at which it is not known are left out.

    ``steps`` are global and grow, ``times_s`` is when each report came; a loss that was not finite
    is infinite here. The sequences are read-only, and cheap to slice.
    """

    rank: int
    field: str
    steps: Sequence[int] = ()
    values: Sequence[float] = ()
    times_s: Sequence[float] = ()
