"""The lines a rank prints about itself; the grammar is docs/report-format.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from effnet.config import TrainConfig


@dataclass(frozen=True)
class Window:
    """Means over `steps` steps of `time_ms` in all; throughput is of all ranks.

    `mean_loss` is over the epoch so far.
    """

    steps: int
    loss: float
    mean_loss: float
    time_ms: float
    wait_ms: float | None
    images_per_s: float
    input_ms: float | None = None
    """What a step waits for its images, on average."""
    save_ms: float = 0.0
    """What checkpoints take of a step, on average."""
    done_s: float | None = None
    """When the last step was done, Unix seconds."""

    @property
    def step_time_ms(self) -> float:
        return self.time_ms / max(1, self.steps)


@dataclass(frozen=True)
class SavedCheckpoint:
    """One checkpoint on disk; `step` and `epoch` are done."""

    path: Path
    step: int
    epoch: int
    bytes: int
    sha256: str
    time_ms: float


@dataclass(frozen=True)
class Evaluation:
    """Means over `images` images; `unreadable` images are not counted."""

    loss: float
    top_1_acc: float
    top_5_acc: float
    images: int
    unreadable: int
    time_ms: float

    @property
    def images_per_s(self) -> float:
        return self.images / (self.time_ms / 1e3)


def start_line(
    config: TrainConfig,
    rank: int,
    world_size: int,
    parameters: int,
    steps_per_epoch: int,
    images: int,
) -> str:
    return (
        f"start: rank:[{rank}/{world_size}], target:[{config.device_target}],"
        f" variant:[{config.variant}], parameters:[{parameters}], epochs:[{config.epoch_size}],"
        f" steps per epoch:[{steps_per_epoch}], batch:[{config.batch_size}x{world_size}],"
        f" images:[{images}], seed:[{config.seed}]"
    )


def step_line(
    epoch: int,
    epochs: int,
    step: int,
    steps_per_epoch: int,
    window: Window,
    lr: float,
    memory_bytes: int | None,
) -> str:
    """The steps of `window`, of which `step` is the last; `epoch` and `step` count from 0."""
    wide, wide_step = max(3, len(str(epochs))), max(5, len(str(steps_per_epoch)))
    parts = [
        f"epoch: [{epoch:{wide}d}/{epochs:{wide}d}]",
        f"step:[{step:{wide_step}d}/{steps_per_epoch:{wide_step}d}]",
        f"loss:[{window.loss:.5f}/{window.mean_loss:.5f}]",
        f"time:[{window.step_time_ms:.3f}]",
    ]
    if window.wait_ms is not None:
        parts.append(f"wait:[{window.wait_ms:.3f}]")
    if window.input_ms is not None:
        parts.append(f"input:[{window.input_ms:.3f}]")
    if window.save_ms:
        parts.append(f"save:[{window.save_ms:.3f}]")
    parts += [f"images/s:[{window.images_per_s:.1f}]", f"lr:[{lr:.7f}]"]
    if memory_bytes is not None:
        parts.append(f"memory:[{memory_bytes}]")
    if window.done_s is not None:
        parts.append(f"at:[{window.done_s:.6f}]")
    if window.steps > 1:
        parts.append(f"steps:[{window.steps}]")
    return ", ".join(parts)


def epoch_line(epoch: int, whole: Window) -> str:
    """`epoch` counts from 1, as the reference's README shows it."""
    return (
        f"epoch {epoch}: epoch time: {whole.time_ms:.3f}, per step time: {whole.step_time_ms:.3f},"
        f" avg loss: {whole.mean_loss:.3f}, images/s:[{whole.images_per_s:.1f}]"
    )


def checkpoint_line(saved: SavedCheckpoint) -> str:
    return (
        f"checkpoint: epoch:[{saved.epoch}], step:[{saved.step}], bytes:[{saved.bytes}],"
        f" time:[{saved.time_ms:.3f}], sha256:[{saved.sha256[:16]}], path:[{saved.path}]"
    )


def resume_line(epoch: int, step: int, path: str) -> str:
    return f"resume: epoch:[{epoch}], step:[{step}], path:[{path}]"


def eval_line(epoch: int | None, step: int | None, found: Evaluation, weights: str) -> str:
    """`epoch` and `step` are `None` for weights that were not trained here."""
    place = [f"{k}:[{v}]" for k, v in (("epoch", epoch), ("step", step)) if v is not None]
    parts = [*place, f"images:[{found.images}]", f"time:[{found.time_ms:.3f}]"]
    return f"eval: {', '.join(parts)}, images/s:[{found.images_per_s:.1f}], weights:[{weights}]"


def result_line(found: Evaluation, checkpoint: str) -> str:
    """The reference's, character for character."""
    values = {"Loss": found.loss, "Top_1_Acc": found.top_1_acc, "Top_5_Acc": found.top_5_acc}
    return f"result: {values} ckpt = {checkpoint}"


def stop_line(epoch: int, step: int, reason: str, state: str) -> str:
    """`state`: `effnet.train.state.host`."""
    return f"stop: epoch:[{epoch}], step:[{step}], state:[{state}], reason:[{reason}]"


def fault_line(kind: str, epoch: int, step: int, text: str) -> str:
    one_line = " ".join(text.split())
    return f"fault: kind:[{kind}], epoch:[{epoch}], step:[{step}], text:[{one_line}]"


def done_line(epochs: int, steps: int, time_ms: float, state: str) -> str:
    """`state`: `effnet.train.state.host`."""
    return f"done: epochs:[{epochs}], steps:[{steps}], time:[{time_ms:.3f}], state:[{state}]"


def calibration_line(steps: int, step_ms: float, steps_per_epoch: int, eval_ms: float) -> str:
    """Means over `steps` steps; `eval_ms` is what a whole evaluation takes, 0 without one."""
    return (
        f"calibration: steps:[{steps}], step time:[{step_ms:.3f}],"
        f" steps per epoch:[{steps_per_epoch}], evaluation:[{eval_ms:.3f}]"
    )


def progress_line(job: str, done: int, total: int) -> str:
    return f"progress: {job}:[{done}/{total}]"


def emit_notes(notes: Iterable[str]) -> None:
    for note in notes:
        emit(f"note: {note}")


def emit(line: str) -> None:
    """Print one line and flush it, because the rank may die next."""
    print(line, flush=True)


class Memory:
    """Device memory in use: resident memory on a CPU, MindSpore's own count elsewhere."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._process = psutil.Process()

    def bytes(self) -> int | None:
        if self._target == "CPU":
            return int(self._process.memory_info().rss)
        import mindspore as ms

        return int(ms.runtime.memory_allocated()) or None
