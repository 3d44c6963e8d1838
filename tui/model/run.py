"""What the screens show: frozen records, made in the worker thread, in plain units.

``None`` means not known, everywhere. Times are Unix seconds; ``now`` is the reader's clock, which
in a replay is the replay's. An epoch is the index, from 0, of the one that is trained; a step
counts how many of it are done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

Tone = Literal["good", "busy", "warn", "bad", "idle"]

STATE_TONE: Final[dict[str, Tone]] = {
    "created": "idle",
    "starting": "busy",
    "running": "good",
    "stopping": "warn",
    "stopped": "idle",
    "failing": "bad",
    "failed": "bad",
    "finished": "good",
    "lost": "bad",
}
LIVE_STATES: Final = frozenset({"created", "starting", "running", "stopping", "failing"})
RESUMABLE_STATES: Final = frozenset({"stopped", "failed", "lost"})


def tone_of(state: str) -> Tone:
    """How a state looks; one that this version does not know looks idle."""
    return STATE_TONE.get(state, "idle")


@dataclass(frozen=True, slots=True)
class RankRow:
    """One rank of the newest attempt."""

    rank: int
    node: str
    device: str
    state: str  # waiting, running, silent, failed, ended, done
    phase: str | None = None
    epoch: int | None = None
    step: int | None = None  # within the epoch
    loss: float | None = None
    step_time_ms: float | None = None
    wait_ms: float | None = None
    images_per_s: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    newest: float | None = None  # when the newest sign of life came
    late_ms: float | None = None  # own work against the median rank's
    exit_code: int | None = None
    signal: str | None = None
    first_to_fail: bool = False
    unreachable_since: float | None = None  # its node does not answer since then


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended, for the card."""

    rank: int | None
    node: str | None
    how: str  # "exit code 1", "signal SIGKILL"
    kind: str
    meaning: str
    try_next: str
    last_lines: tuple[str, ...]
    followers: tuple[int, ...]
    log_offset: int | None
    time: float | None


@dataclass(frozen=True, slots=True)
class Restart:
    """The checkpoint that a resume would take, or why there is none."""

    possible: bool
    epoch: int | None
    step: int | None
    steps_lost: int | None
    path: str
    why: str
    verified: bool
    command: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved state of the run."""

    epoch: int
    step: int
    path: str
    size_bytes: int | None
    time: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation's result."""

    epoch: int | None
    step: int | None
    loss: float | None
    top_1: float | None
    top_5: float | None
    images: int | None
    weights: str
    time: float | None


@dataclass(frozen=True, slots=True)
class Job:
    """An eval, export or infer job of the run."""

    id: str
    type: str
    state: str  # running, done, failed
    result: str
    exit_code: int | None = None
    started: float | None = None
    finished: float | None = None
    done: int | None = None  # images, of ``total``
    total: int | None = None
    path: str = ""  # of the file that it wrote


@dataclass(frozen=True, slots=True)
class RunView:
    """One moment of one run."""

    id: str
    profile: str
    path: str
    state: str
    now: float
    created: float | None = None
    attempt: int | None = None
    world_size: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps_per_epoch: int | None = None
    loss: float | None = None
    images_per_s: float | None = None
    learning_rate: float | None = None
    eta_s: float | None = None
    newest: float | None = None
    worst: str = ""
    worst_rank: int | None = None
    note: str = ""
    ranks: tuple[RankRow, ...] = ()
    failure: Failure | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    jobs: tuple[Job, ...] = ()
    lost_lines: int = 0

    @property
    def live(self) -> bool:
        """Whether something still runs, as far as is known."""
        return self.state in LIVE_STATES

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of its ranks, each once, in rank order."""
        return tuple(dict.fromkeys(row.node for row in self.ranks))

    @property
    def done_steps(self) -> int | None:
        """Steps done over all epochs."""
        if self.epoch is None or self.step is None or not self.steps_per_epoch:
            return None
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training."""
        if not self.epochs or not self.steps_per_epoch:
            return None
        return self.epochs * self.steps_per_epoch

    @property
    def worst_short(self) -> str:
        """``worst`` without the node, for narrow places."""
        return re.sub(r" on \S+", "", self.worst, count=1)

    @property
    def age_s(self) -> float | None:
        """Age of the newest sign of life, at ``now``."""
        return None if self.newest is None else max(self.now - self.newest, 0.0)


@dataclass(frozen=True, slots=True)
class HomeRun:
    """A run's line on the home screen."""

    id: str
    profile: str
    path: str
    state: str
    created: float | None
    newest: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    done: float | None = None  # 0…1 of all steps
    loss: float | None = None
    eta_s: float | None = None

    @property
    def live(self) -> bool:
        """Whether something still runs."""
        return self.state in LIVE_STATES


@dataclass(frozen=True, slots=True)
class HomeProfile:
    """A profile's line on the home screen."""

    name: str
    path: str
    picture: tuple[str, ...] = ()  # nodes and devices, a line each
    about: str = ""
    world_size: int | None = None
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeView:
    """What there is."""

    now: float
    runs: tuple[HomeRun, ...] = ()
    profiles: tuple[HomeProfile, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart, already thinned to ``(low, high)`` per column.

    ``columns[i]`` covers steps ``[first + i * width, first + (i + 1) * width)`` of the chart.
    """

    label: str
    columns: tuple[tuple[float, float] | None, ...]
    last: float | None = None


@dataclass(frozen=True, slots=True)
class ChartData:
    """All curves of one field over the same steps."""

    field: str
    first_step: int = 0
    last_step: int = 0
    end_step: int = 0  # where the axis ends: ``last_step``, or a little later
    curves: tuple[Curve, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()  # 0…1 of the width, label


@dataclass(frozen=True, slots=True)
class SkewData:
    """Lateness to the reduction, rank × time bins, in ms; ``None`` where nothing is known."""

    ranks: tuple[int, ...] = ()
    bins: tuple[tuple[float | None, ...], ...] = ()  # one tuple a rank, oldest first
    typical_ms: float | None = None
    words: str = ""
    worst_rank: int | None = None


@dataclass(frozen=True, slots=True)
class RunFrame:
    """Everything that one poll brought for the run screen."""

    view: RunView
    charts: tuple[ChartData, ...] = ()
    skew: SkewData = field(default_factory=SkewData)


@dataclass(frozen=True, slots=True)
class ChartRequest:
    """One chart as it stands on the screen: its field, columns and smoothing (0 … below 1)."""

    field: str
    columns: int
    smoothing: float = 0.0
    mean_only: bool = False


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What the run screen shows now, so that nothing else is computed."""

    charts: tuple[ChartRequest, ...] = ()
    skew_bins: int = 0
