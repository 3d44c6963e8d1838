"""The state of a run: frozen records, and the legal paths between states."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.events import Failure
from launcher.core.run.nodes import CopyState, KeptState, LeftOutNode
from launcher.core.text.figures import plural


class RunStatus(str, Enum):
    """Where a run is. ``hung`` and ``lost`` are never written: clients see them
    (``RunState.shown``, ``RunSnapshot.status``)."""

    CREATED = "created"
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    HUNG = "hung"
    STOPPING = "stopping"
    FAILING = "failing"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """Whether no process of the run should be left."""
        return self in (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.FINISHED)


_S = RunStatus

LEGAL: Mapping[RunStatus, frozenset[RunStatus]] = {
    _S.CREATED: frozenset({_S.PENDING, _S.STARTING, _S.STOPPING, _S.FAILED, _S.STOPPED}),
    _S.PENDING: frozenset({_S.STARTING, _S.STOPPED}),
    _S.STARTING: frozenset(
        {_S.STARTING, _S.RUNNING, _S.STOPPING, _S.FAILING, _S.FAILED, _S.STOPPED, _S.FINISHED}
    ),
    _S.RUNNING: frozenset(
        {_S.STARTING, _S.STOPPING, _S.FAILING, _S.FAILED, _S.STOPPED, _S.FINISHED}
    ),
    _S.STOPPING: frozenset({_S.STARTING, _S.FAILING, _S.FAILED, _S.STOPPED, _S.FINISHED}),
    _S.FAILING: frozenset({_S.STARTING, _S.FAILED, _S.STOPPED}),
    _S.STOPPED: frozenset({_S.STARTING, _S.PENDING}),
    _S.FAILED: frozenset({_S.STARTING, _S.PENDING}),
    _S.FINISHED: frozenset(),
    _S.HUNG: frozenset(),
    _S.LOST: frozenset(),
}
"""From each state, the states that may follow.

A live state can lead to ``starting``: after a power cut nothing wrote the end of the attempt.
"""


@dataclass(frozen=True)
class RankState:
    """One rank of one attempt, from events."""

    rank: int
    node: str
    local_rank: int
    device: int | None
    pid: int
    start_time: float | None
    started_s: float
    exited_s: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    was_done: bool = False
    silent_since_s: float | None = None
    silent_phase: str | None = None
    silent_why: str = ""

    @property
    def has_exited(self) -> bool:
        return self.exited_s is not None


@dataclass(frozen=True)
class Hang:
    """Ranks that are silent, so that a run does not advance; ``since_s`` is the first one's.

    ``node``, ``pid``, ``phase`` and ``why`` are of the first of ``ranks``.
    """

    ranks: tuple[int, ...]
    node: str
    pid: int
    since_s: float
    phase: str | None = None
    why: str = ""
    stacks: str = ""
    """What the ranks did, in words, by the stacks that were taken since."""


@dataclass(frozen=True)
class StacksState:
    """What the ranks of an attempt did when their stacks were last taken."""

    number: int
    time_s: float
    why: str
    words: str
    outliers: tuple[int, ...]


@dataclass(frozen=True)
class Silence:
    """A supervisor that does not answer. ``since_s``: Unix time of the first unanswered ping.

    `node`: the other machine that it is on; empty for this one.
    """

    pid: int
    since_s: float
    node: str = ""

    @property
    def who(self) -> str:
        return f"the supervisor{self._on_node} (process {self.pid})"

    @property
    def _on_node(self) -> str:
        return f" on {self.node}" if self.node else ""

    def hint(self, run: str) -> str:
        return (
            "Its ranks continue. It may be stopped, or wait for a disk or a network."
            f" To continue a stopped one: kill -CONT {self.pid}{self._on_node}."
            f" To end the run: effnet-launch stop {run}"
        )


@dataclass(frozen=True)
class EpochState:
    """One finished epoch; ``epoch`` is how many are done."""

    attempt: int
    epoch: int
    time_s: float
    avg_loss: float | None
    input_ms: float | None = None


@dataclass(frozen=True)
class CheckpointState:
    """One checkpoint from its event; the manifest is authoritative."""

    attempt: int
    epoch: int
    step: int
    path: str
    bytes: int | None
    sha256: str | None
    time_s: float
    took_ms: float | None = None


@dataclass(frozen=True)
class EvalState:
    """One evaluation, of the training itself (``attempt``) or of a job."""

    time_s: float
    attempt: int | None
    job: str | None
    epoch: int | None
    step: int | None
    loss: float | None
    top_1_acc: float | None
    top_5_acc: float | None
    images: int | None
    weights: str | None
    took_ms: float | None = None


@dataclass(frozen=True)
class JobState:
    """One eval, export or infer job; ``finished_s`` is ``None`` while it runs.

    ``slurm_job``: Slurm's number. ``queue_words``: why it waits, and empty once it has begun.
    ``lost_words``: not from events; nobody would write down how it ends, and why that is so.
    """

    job: str
    type: str
    node: str | None
    argv: tuple[str, ...]
    started_s: float
    finished_s: float | None = None
    exit_code: int | None = None
    result: Mapping[str, Any] | None = None
    slurm_job: str = ""
    queue_words: str = ""
    lost_words: str = ""

    @property
    def is_waiting(self) -> bool:
        return bool(self.queue_words) and self.finished_s is None


@dataclass(frozen=True)
class AttemptState:
    """One attempt; ``status`` is the run's while the attempt is the newest."""

    attempt: int
    world_size: int
    started_s: float
    status: RunStatus = RunStatus.STARTING
    resume: StartCheckpoint | None = None
    logical_size: int | None = None
    training_s: float | None = None
    ended_s: float | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    step: int | None = None
    ranks: tuple[RankState, ...] = ()
    failure: Failure | None = None
    leftover: tuple[int, ...] = ()
    unreachable: Mapping[str, float] = field(default_factory=dict)
    """Nodes that the supervisor can't reach now -> Unix time of their last sign."""
    why_unreachable: Mapping[str, str] = field(default_factory=dict)
    """The same nodes -> what SSH reported."""
    low_disks: Mapping[str, int] = field(default_factory=dict)
    """``node:path`` of disks that are nearly full -> bytes that were free when it was noticed."""
    stacks: StacksState | None = None

    @property
    def fewer_words(self) -> str:
        """That fewer ranks carry those of the run; empty where each carries itself."""
        if self.logical_size is None:
            return ""
        return f"trains with {plural(self.world_size, 'rank')} instead of {self.logical_size}"

    def rank(self, rank: int) -> RankState | None:
        """The newest start of a rank in this attempt."""
        return self._by_rank.get(rank)

    @functools.cached_property
    def _by_rank(self) -> Mapping[int, RankState]:
        return {state.rank: state for state in reversed(self.ranks)}


@dataclass(frozen=True)
class RunState:
    """The state after all events of a run."""

    status: RunStatus = RunStatus.CREATED
    run: str = ""
    profile: str = ""
    world_size: int = 0
    created_s: float | None = None
    changed_s: float | None = None
    last_n: int = 0
    supervisor_pid: int | None = None
    slurm_job: str = ""
    """The number of the run's job in Slurm; empty under other start methods."""
    slurm_why: str = ""
    """Why that job was queued again, or left the queue."""
    left_out: Mapping[str, LeftOutNode] = field(default_factory=dict)
    """Nodes that are not used any more, by name, in the order in which they were left out."""
    kept: KeptState | None = None
    """What a failed attempt has left for the next one, as the event says (`still_kept`)."""
    gave_up: str = ""
    """Why no automatic attempt follows the newest one."""
    stop_by: str | None = None
    stop_saves: bool | None = None
    attempts: tuple[AttemptState, ...] = ()
    epochs: tuple[EpochState, ...] = ()
    checkpoints: tuple[CheckpointState, ...] = ()
    copy: CopyState | None = None
    """``None`` before anything was copied, and where no copies are made."""
    evals: tuple[EvalState, ...] = ()
    jobs: tuple[JobState, ...] = ()
    skipped: int = 0
    """Lines that were no event, repeated events, and events that fit no legal path."""
    gaps: int = 0
    """Times that the numbers of the events jumped."""

    @property
    def hang(self) -> Hang | None:
        """The silent ranks of a run that is not over."""
        if self.attempt is None or self.status.is_over:
            return None
        silent = [rank for rank in self.attempt.ranks if rank.silent_since_s is not None]
        if not silent:
            return None
        first = silent[0]
        since_s = min(rank.silent_since_s or 0.0 for rank in silent)
        ranks = tuple(rank.rank for rank in silent)
        stacks = self.attempt.stacks
        found = stacks.words if stacks is not None and stacks.time_s > since_s else ""
        words = first.silent_phase, first.silent_why, found
        return Hang(ranks, first.node, first.pid, since_s, *words)

    @property
    def shown(self) -> RunStatus:
        """``hung`` while it starts or trains and a rank is silent, else ``status``."""
        may_hang = self.status in (RunStatus.STARTING, RunStatus.RUNNING)
        return RunStatus.HUNG if may_hang and self.hang is not None else self.status

    @property
    def attempt(self) -> AttemptState | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def failure(self) -> Failure | None:
        """Why the newest attempt ended, where it failed."""
        return self.attempts[-1].failure if self.attempts else None
