"""What one poll brings: the client's snapshots, and charts made of their values.

``None`` means not known, everywhere. Times are Unix seconds; a snapshot's ``polled_s`` is the
reader's clock, which in a replay is the replay's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from launcher.core.run.metrics import DeviceRecord

if TYPE_CHECKING:  # the first screen does not wait for the launcher's import
    from launcher.client import CheckpointFacts, Comparison, ProfileEntry, RunSnapshot, RunSummary

Tone = Literal["good", "busy", "warn", "bad", "idle"]
Axis = Literal["step", "epoch", "time"]

STATE_TONE: Final[dict[str, Tone]] = {
    "created": "idle",
    "pending": "busy",
    "starting": "busy",
    "running": "good",
    "hung": "bad",
    "stopping": "warn",
    "stopped": "idle",
    "failing": "bad",
    "failed": "bad",
    "finished": "good",
    "lost": "bad",
}
LIVE_STATES: Final = frozenset(
    {"created", "pending", "starting", "running", "hung", "stopping", "failing"}
)
RESUMABLE_STATES: Final = frozenset({"stopped", "failed", "lost"})


def tone_of(state: str) -> Tone:
    """How a state looks; one that this version does not know looks idle."""
    return STATE_TONE.get(state, "idle")


@dataclass(frozen=True, slots=True)
class HomeView:
    now: float
    runs: tuple[RunSummary, ...] = ()
    profiles: tuple[ProfileEntry, ...] = ()
    unread: int = 0
    """Runs that are there and were not read yet."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart, already thinned to ``(low, high)`` per column.

    Column ``i`` of ``n`` covers ``n``-ths of the chart's ``first … end``. ``raw``: the same
    without smoothing, where it was smoothed. ``rank`` is ``None`` for a mean and the like.
    """

    label: str
    columns: tuple[tuple[float, float] | None, ...]
    last: float | None = None
    raw: tuple[tuple[float, float] | None, ...] = ()
    rank: int | None = None
    is_context: bool = False
    """Whether it only shows where the others are: drawn faint, behind them."""


@dataclass(frozen=True, slots=True)
class ChartData:
    """All curves of one field over the same range ``first … end`` of the x axis.

    Steps count from 0, also on the axis of epochs; times are seconds since the run was created.
    """

    field: str
    first: float = 0
    last: float = 0  # the newest value's place
    end: float = 0  # where the axis ends: ``last``, or a little later
    curves: tuple[Curve, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()  # 0…1 of the width; a key of ``plot.MARKS``
    axis: Axis = "step"
    steps_per_epoch: int | None = None
    all_of_it: tuple[float, float] | None = None

    @property
    def whole(self) -> tuple[float, float]:
        """The whole run's range, of which this may be a part."""
        return self.all_of_it or (self.first, self.end)


@dataclass(frozen=True, slots=True)
class SkewData:
    """Lateness to the all-reduce, rank × report, as a share of what that step took the typical
    rank; ``None`` where nothing is known.

    ``slow``: by report, the share that the step took longer than usual, for all ranks.
    """

    ranks: tuple[int, ...] = ()
    bins: tuple[tuple[float | None, ...], ...] = ()  # one tuple a rank, oldest first
    slow: tuple[float, ...] = ()
    typical_ms: float | None = None
    words: str = ""
    worst_rank: int | None = None


@dataclass(frozen=True, slots=True)
class RunFrame:
    """Everything that one poll brought for the run screen."""

    snapshot: RunSnapshot
    charts: tuple[ChartData, ...] = ()
    skew: SkewData = field(default_factory=SkewData)
    checkpoints: tuple[CheckpointFacts, ...] = ()
    """Those with a manifest and a file, newest first."""
    progress: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Images done and in total, of each running job that reports them."""
    memory: tuple[DeviceRecord, ...] = ()
    """Of the rank that was killed first, over its last minute."""


@dataclass(frozen=True, slots=True)
class ComparisonFrame:
    """What one poll brought for the comparison screen."""

    now: float
    comparison: Comparison
    chart: ChartData


@dataclass(frozen=True, slots=True)
class ChartRequest:
    """One chart as it is on the screen: its field, columns and smoothing (0 … below 1).

    ``width`` is how much of the x axis it shows (``None``: all of it), up to ``end`` (``None``: the
    newest value). ``ranks`` are in front: they have a curve also where not all ranks have one.
    """

    field: str
    columns: int
    smoothing: float = 0.0
    mean_only: bool = False
    axis: Axis = "step"
    width: float | None = None
    end: float | None = None
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What the run screen shows now, so that nothing else is computed."""

    charts: tuple[ChartRequest, ...] = ()
    skew_bins: int = 0
    attempt: int | None = None
    """The attempt to show; ``None``: the newest."""
