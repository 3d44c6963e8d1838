"""The lines a rank prints about itself; the grammar is docs/report-format.md."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class StepReport:
    """One report: `steps` steps up to `step`; times are of one step, throughput of all ranks."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    loss: float
    mean_loss: float
    step_time_ms: float
    wait_ms: float | None
    images_per_s: float
    lr: float
    memory_bytes: int | None
    steps: int = 1

    def line(self) -> str:
        wide_epoch, wide_step = (
            max(3, len(str(self.epochs))),
            max(5, len(str(self.steps_per_epoch))),
        )
        parts = [
            f"epoch: [{self.epoch:{wide_epoch}d}/{self.epochs:{wide_epoch}d}]",
            f"step:[{self.step:{wide_step}d}/{self.steps_per_epoch:{wide_step}d}]",
            f"loss:[{self.loss:.5f}/{self.mean_loss:.5f}]",
            f"time:[{self.step_time_ms:.3f}]",
        ]
        if self.wait_ms is not None:
            parts.append(f"wait:[{self.wait_ms:.3f}]")
        parts += [f"images/s:[{self.images_per_s:.1f}]", f"lr:[{self.lr:.7f}]"]
        if self.memory_bytes is not None:
            parts.append(f"memory:[{self.memory_bytes}]")
        if self.steps > 1:
            parts.append(f"steps:[{self.steps}]")
        return ", ".join(parts)


def start_line(
    *,
    rank: int,
    world_size: int,
    target: str,
    variant: str,
    parameters: int,
    epochs: int,
    steps_per_epoch: int,
    batch_size: int,
    images: int,
    seed: int,
) -> str:
    return (
        f"start: rank:[{rank}/{world_size}], target:[{target}], variant:[{variant}],"
        f" parameters:[{parameters}], epochs:[{epochs}], steps per epoch:[{steps_per_epoch}],"
        f" batch:[{batch_size}x{world_size}], images:[{images}], seed:[{seed}]"
    )


def epoch_line(
    epoch: int, epoch_time_ms: float, step_time_ms: float, mean_loss: float, images_per_s: float
) -> str:
    """`epoch` counts from 1, as the reference's README shows it."""
    return (
        f"epoch {epoch}: epoch time: {epoch_time_ms:.3f}, per step time: {step_time_ms:.3f},"
        f" avg loss: {mean_loss:.3f}, images/s:[{images_per_s:.1f}]"
    )


def checkpoint_line(
    epoch: int, step: int, size_bytes: int, time_ms: float, sha256: str, path: str
) -> str:
    return (
        f"checkpoint: epoch:[{epoch}], step:[{step}], bytes:[{size_bytes}],"
        f" time:[{time_ms:.3f}], sha256:[{sha256[:16]}], path:[{path}]"
    )


def resume_line(epoch: int, step: int, path: str) -> str:
    return f"resume: epoch:[{epoch}], step:[{step}], path:[{path}]"


def eval_line(
    epoch: int | None,
    step: int | None,
    images: int,
    time_ms: float,
    images_per_s: float,
    weights: str,
) -> str:
    """`epoch` and `step` are `None` for weights that were not trained here."""
    place = [f"{k}:[{v}]" for k, v in (("epoch", epoch), ("step", step)) if v is not None]
    parts = [*place, f"images:[{images}]", f"time:[{time_ms:.3f}]"]
    return f"eval: {', '.join(parts)}, images/s:[{images_per_s:.1f}], weights:[{weights}]"


def result_line(loss: float, top_1_acc: float, top_5_acc: float, checkpoint: str) -> str:
    """The reference's, character for character."""
    values = {"Loss": float(loss), "Top_1_Acc": float(top_1_acc), "Top_5_Acc": float(top_5_acc)}
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


def progress_line(job: str, done: int, total: int) -> str:
    return f"progress: {job}:[{done}/{total}]"


def say(line: str) -> None:
    """Print one line at once: a rank that dies next must not take it along."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


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
