"""The lines a rank prints about itself; the grammar is docs/report-format.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from effnet.contract.reporter import SavedCheckpoint as SavedCheckpoint
from effnet.contract.reporter import Window as Window
from effnet.contract.reporter import checkpoint_line as checkpoint_line
from effnet.contract.reporter import done_line as done_line
from effnet.contract.reporter import emit as emit
from effnet.contract.reporter import resume_line as resume_line
from effnet.contract.reporter import step_line as step_line
from effnet.contract.reporter import stop_line as stop_line

if TYPE_CHECKING:
    from effnet.config import TrainConfig


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
    logical_size: int = 0,
) -> str:
    """`logical_size`: how many logical ranks these ranks carry, where they are more."""
    batches = logical_size or world_size
    return (
        f"start: rank:[{rank}/{world_size}], target:[{config.device_target}],"
        f" variant:[{config.variant}], parameters:[{parameters}], epochs:[{config.epoch_size}],"
        f" steps per epoch:[{steps_per_epoch}], batch:[{config.batch_size}x{batches}],"
        f" images:[{images}], seed:[{config.seed}]"
    )


def epoch_line(epoch: int, whole: Window) -> str:
    """`epoch` counts from 1, as the reference's README shows it."""
    return (
        f"epoch {epoch}: epoch time: {whole.time_ms:.3f}, per step time: {whole.step_time_ms:.3f},"
        f" avg loss: {whole.mean_loss:.3f}, images/s:[{whole.images_per_s:.1f}]"
    )


def eval_line(epoch: int | None, step: int | None, found: Evaluation, weights: str) -> str:
    """`epoch` and `step` are `None` for weights that were not trained here."""
    place = [f"{k}:[{v}]" for k, v in (("epoch", epoch), ("step", step)) if v is not None]
    parts = [*place, f"images:[{found.images}]", f"time:[{found.time_ms:.3f}]"]
    return f"eval: {', '.join(parts)}, images/s:[{found.images_per_s:.1f}], weights:[{weights}]"


def result_line(found: Evaluation, checkpoint: str) -> str:
    """The reference's, character for character."""
    values = {"Loss": found.loss, "Top_1_Acc": found.top_1_acc, "Top_5_Acc": found.top_5_acc}
    return f"result: {values} ckpt = {checkpoint}"


def fault_line(kind: str, epoch: int, step: int, text: str) -> str:
    one_line = " ".join(text.split())
    return f"fault: kind:[{kind}], epoch:[{epoch}], step:[{step}], text:[{one_line}]"


def calibration_line(
    steps: int, step_ms: float, steps_per_epoch: int, eval_ms: float, feed_images_per_s: float
) -> str:
    """Means over `steps` steps. `eval_ms` is what a whole evaluation takes, 0 without one;
    `feed_images_per_s` is what the rank's threads prepare when all ranks do nothing else.
    """
    return (
        f"calibration: steps:[{steps}], step time:[{step_ms:.3f}],"
        f" steps per epoch:[{steps_per_epoch}], evaluation:[{eval_ms:.3f}],"
        f" feed images/s:[{feed_images_per_s:.1f}]"
    )


def progress_line(job: str, done: int, total: int) -> str:
    return f"progress: {job}:[{done}/{total}]"


def emit_notes(notes: Iterable[str]) -> None:
    for note in notes:
        emit(f"note: {note}")


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
