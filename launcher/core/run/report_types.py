"""The records of report lines, one for each kind of line (docs/report-format.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _under(key: str) -> Any:
    """An optional field whose key in the line is not its name."""
    return field(default=None, metadata={"key": key})


@dataclass(frozen=True)
class StepReport:
    """One or more (``steps``) steps. ``epoch`` and ``step`` count from 0; ``None`` is not known."""

    epoch: int
    step: int
    epochs: int | None = None
    steps_per_epoch: int | None = None
    loss: float | None = None
    mean_loss: float | None = None
    step_time_ms: float | None = _under("time")
    wait_ms: float | None = _under("wait")
    images_per_s: float | None = _under("images/s")
    learning_rate: float | None = _under("lr")
    memory_bytes: int | None = _under("memory")
    steps: int = 1
    input_ms: float | None = _under("input")
    save_ms: float | None = _under("save")
    done_s: float | None = _under("at")
    """When its last step was done, Unix seconds."""

    @property
    def global_step(self) -> int | None:
        """0-based, the last step that the report covers."""
        if self.steps_per_epoch is None:
            return None
        return self.epoch * self.steps_per_epoch + self.step


@dataclass(frozen=True)
class EpochReport:
    """One epoch; ``epoch`` is how many are done."""

    epoch: int | None = None
    epochs: int | None = None
    epoch_time_ms: float | None = None
    step_time_ms: float | None = None
    mean_loss: float | None = None
    images_per_s: float | None = _under("images/s")
    learning_rate: float | None = _under("lr")
    steps: int | None = None


@dataclass(frozen=True)
class TrainingHeader:
    """A rank before its first step; ``batch_size`` is one rank's."""

    rank: int
    world_size: int
    target: str | None = None
    variant: str | None = None
    parameters: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = _under("steps per epoch")
    batch_size: int | None = None
    images: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class CheckpointSaved:
    """``epoch`` and ``step`` are done; ``sha256`` is the first 16 digits."""

    epoch: int
    step: int
    path: str
    size_bytes: int | None = _under("bytes")
    time_ms: float | None = _under("time")
    sha256: str | None = None


@dataclass(frozen=True)
class Resumed:
    """A rank that continues from a checkpoint."""

    epoch: int
    step: int
    path: str


@dataclass(frozen=True)
class EvalReport:
    """The line before a ``result:``; ``weights`` is ``model`` or ``ema``."""

    epoch: int | None = None
    step: int | None = None
    images: int | None = None
    time_ms: float | None = _under("time")
    images_per_s: float | None = _under("images/s")
    weights: str | None = None


@dataclass(frozen=True)
class EvalResult:
    """The reference's ``result:`` line; accuracies are shares of 1."""

    loss: float | None
    top_1_acc: float | None
    top_5_acc: float | None
    checkpoint: str


@dataclass(frozen=True)
class Stopped:
    """A rank that ends early because it was asked to; ``state`` as in :class:`Done`."""

    epoch: int
    step: int
    reason: str
    state: str | None = None


@dataclass(frozen=True)
class Fault:
    """Why a rank ends by itself: its last report."""

    kind: str
    text: str
    epoch: int | None = None
    step: int | None = None


@dataclass(frozen=True)
class Done:
    """A rank whose last epoch is done; ``state`` is a digest of all that it has learned."""

    epochs: int
    steps: int
    time_ms: float | None = _under("time")
    state: str | None = None


@dataclass(frozen=True)
class Progress:
    """How much of a job is done, in images."""

    job: str
    done: int
    total: int


@dataclass(frozen=True)
class Calibrated:
    """What a step and a whole evaluation take: the last line of a calibration."""

    steps: int
    step_time_ms: float | None = _under("step time")
    steps_per_epoch: int | None = _under("steps per epoch")
    evaluation_ms: float | None = _under("evaluation")
    feed_images_per_s: float | None = _under("feed images/s")


Report = (
    StepReport
    | EpochReport
    | TrainingHeader
    | CheckpointSaved
    | Resumed
    | EvalReport
    | EvalResult
    | Stopped
    | Fault
    | Done
    | Progress
    | Calibrated
)
