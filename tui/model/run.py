"""What one poll brings: the client's snapshots, and charts made of their values.

``None`` means not known, everywhere. Times are Unix seconds; a snapshot's ``polled_s`` is the
reader's clock, which in a replay is the replay's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:  # the first screen does not wait for the launcher's import
    from launcher.client import CheckpointFacts, ProfileEntry, RunSnapshot, RunSummary

Tone = Literal["good", "busy", "warn", "bad", "idle"]

STATE_TONE: Final[dict[str, Tone]] = {
    "created": "idle",
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
LIVE_STATES: Final = frozenset({"created", "starting", "running", "hung", "stopping", "failing"})
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


@dataclass(frozen=True, slots=True)
class ChartRequest:
    """One chart as it is on the screen: its field, columns and smoothing (0 … below 1)."""

    field: str
    columns: int
    smoothing: float = 0.0
    mean_only: bool = False


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What the run screen shows now, so that nothing else is computed."""

    charts: tuple[ChartRequest, ...] = ()
    skew_bins: int = 0
