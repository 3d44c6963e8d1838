"""One training step of one rank, for a CPU: gradients, one all-reduce, one update."""

from __future__ import annotations

import time
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from effnet import device
from effnet.config import TrainConfig
from effnet.contract import report
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data import Batch
from effnet.distributed import sums
from effnet.distributed.group import Group, Sum
from effnet.errors import EffnetError
from effnet.model.efficientnet import EfficientNet
from effnet.optim import loss_scale
from effnet.optim.optimizer import Optimizer, average
from effnet.optim.pieces import Floats, Pieces
from effnet.optim.rules import Slots, rule_of
from effnet.train.gradients.compiled import Gradients
from effnet.train.state.host import TrainState
from effnet.train.steps.loss import TrainingLoss


class LossNotFinite(EffnetError):
    """The loss is NaN or infinite, `offset` steps after those that were done before the call."""

    def __init__(self, loss: float, own: bool, indices: NDArray[np.int64], offset: int = 0) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss = loss
        self.own = own
        """Whether it is this rank's own loss, and not only a peer's."""
        self.indices = indices
        """This rank's images in that step."""
        self.offset = offset


def remedy(config: TrainConfig) -> str:
    """What to change after a loss that is not finite."""
    remedy = "lower lr_max or raise warmup_epochs"
    if config.amp_level == "O0" or config.amp_dtype != "float16":
        return remedy
    if config.dynamic_loss_scale:
        return f"{remedy}, or set amp_level = O0 if it overflows in float16"
    return f"{remedy}, lower loss_scale or set dynamic_loss_scale = true"


@dataclass(frozen=True)
class StepOutcome:
    """What one call did. `stop`: some rank has a stop request.

    `loss` is the mean over all ranks and `steps` steps, `wait_ms` the mean over the steps.
    """

    loss: float
    wait_ms: float | None
    stop: bool
    steps: int = 1


@dataclass(frozen=True)
class _Part:
    """The result of a step of one logical rank, or summed over all."""

    loss: float
    gradient: Pieces
    stop: bool


class TrainStep:
    """Takes a batch and a learning rate, changes `state`.

    Gradients, batch-norm statistics, loss and the stop request are in one bucket, so that the ranks
    need one all-reduce a step. Statistics become the mean over the logical ranks:
    rank 0's checkpoint is then the whole state. A rank alone needs no bucket: the optimizer reads
    the gradients where MindSpore left them.

    A rank that carries several logical ranks takes their parts of the batch in turn, each from the
    statistics that the step began with, and fills a bucket for each.
    """

    def __init__(
        self,
        net: EfficientNet,
        state: TrainState,
        config: TrainConfig,
        group: Group,
        heartbeat: Heartbeat,
        selected: sums.Selected | None,
    ) -> None:
        """`selected` is how it adds over the logical ranks, from `select`."""
        self._state = state
        self._config = config
        self._group = group
        self._heartbeat = heartbeat
        loss = TrainingLoss(net, config)
        self._gradients = Gradients(loss, state, config, group, heartbeat)
        self._optimizer = Optimizer(
            rule_of(config),
            config.weight_decay,
            state.parts,
            config.clip_norm,
            threads=device.thread_count(),
        )
        self._notes = loss_scale.SkipNotes(state.scaler)
        self._count = len(state.weights)
        self._saturates = self.reads_register(config)
        self._slots = Slots(state.weights, state.moment, state.mean_square, state.ema_weights)
        self.selected = selected
        if selected is not None:
            report.emit_notes(selected.notes)

    def __call__(
        self, batch: Batch, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """`step` is the global one, from 0. Raises `LossNotFinite` before anything but the
        batch-norm statistics is changed.
        """
        self._heartbeat.phase("compute")
        stops = stop is not None and stop.reason is not None
        if self.selected is None:
            whole, wait_ms = _Part(*self._loss_and_gradient(batch, 0), stops), None
            own_loss = whole.loss
        else:
            own_loss = self._fill(batch, self.selected.sum, stops)
            whole, wait_ms = self._reduce(self.selected.sum)
        if not np.isfinite(whole.loss):
            raise LossNotFinite(whole.loss, not np.isfinite(own_loss), batch.indices)
        self._update(whole.gradient, lr, step)
        return StepOutcome(whole.loss, wait_ms, whole.stop)

    @staticmethod
    def reads_register(config: TrainConfig) -> bool:
        """Whether overflows may be known to the device alone: a 910A shows no infinity."""
        return config.device_target == "Ascend" and config.dynamic_loss_scale

    @property
    def _loss_scale(self) -> float:
        scaler = self._state.scaler
        return self._config.loss_scale if scaler is None else float(scaler[0])

    def _loss_and_gradient(self, batch: Batch, number: int) -> tuple[float, Pieces]:
        """The mean loss of the accumulated batches, and the sum of their scaled gradients.

        They are those of one logical rank, by its place among those of this rank.
        """
        config, losses = self._config, list[float]()
        summed: list[NDArray[np.float32]] = []
        for count in range(config.accumulation_steps):
            start = (number * config.accumulation_steps + count) * config.batch_size
            here = slice(start, start + config.batch_size)
            (_, loss), gradients = self._gradients(
                Tensor.from_numpy(batch.images[here]),
                Tensor.from_numpy(batch.labels[here]),
                Tensor.from_numpy(batch.noise[here]),
                Tensor(self._loss_scale, ms.float32),
            )
            losses.append(float(loss.asnumpy()))
            new = [gradient.asnumpy() for gradient in gradients]
            if self._saturates and not ms.amp.all_finite(gradients):
                # The register says so; the numbers do not, and other ranks must skip the step too.
                new[0] = np.full_like(new[0], np.inf)
            if count == 1:
                summed = [array.copy() for array in summed]  # the first ones are MindSpore's own
            if count:
                for array, more in zip(summed, new, strict=True):
                    array += more
            else:
                summed = new
        return sum(losses) / config.accumulation_steps, Pieces(summed)

    def _fill(self, batch: Batch, over_ranks: Sum, stops: bool) -> float:
        """The bucket of each logical rank; -> the sum of their losses.

        Each takes its turn from the batch-norm statistics that the step began with.
        """
        state, total = self._state, 0.0
        first = state.buffers.copy() if len(over_ranks.buckets) > 1 else None
        for number, bucket in enumerate(over_ranks.buckets):
            if first is not None:
                state.buffers[...] = first
            loss, gradient = self._loss_and_gradient(batch, number)
            for place, piece in gradient.between(0, self._count):
                bucket[place] = piece
            bucket[self._count : -2] = state.buffers
            bucket[-2:] = loss, stops
            total += loss
        return total

    def _reduce(self, over_ranks: Sum) -> tuple[_Part, float]:
        """The sum of gradients, the mean of the rest, and ms that it took."""
        state, size = self._state, self._group.world_size
        self._heartbeat.phase("reduce")
        start_s = time.perf_counter()
        reduced = over_ranks.reduce()
        wait_ms = (time.perf_counter() - start_s) * 1e3
        self._heartbeat.phase("compute")
        loss = float(reduced[-2]) / size
        if np.isfinite(loss):
            np.multiply(reduced[self._count : -2], np.float32(1 / size), out=state.buffers)
        return _Part(loss, Pieces([reduced[: self._count]]), bool(reduced[-1] > 0)), wait_ms

    def _update(self, gradient: Pieces, lr: float, step: int) -> None:
        state, config = self._state, self._config
        scale, norm = self._loss_scale, None
        if state.scaler is not None:
            norm = self._optimizer.norm(gradient)
            loss_scale.adjust(state.scaler, np.isfinite(norm))
            report_skipped(self._notes, state.scaler, step + 1, self._group)
            if not np.isfinite(norm):
                return
        decay = ema_decay(config.ema_decay, step)
        count = self._group.world_size * config.accumulation_steps
        self._optimizer.update(
            self._slots,
            gradient,
            lr,
            step=step,
            gradient_scale=1 / (count * scale),
            average_decay=decay,
            norm=norm,
        )
        if state.ema_buffers is not None:
            average(state.ema_buffers, state.buffers, decay, np.empty_like(state.buffers))


def select(state: TrainState, config: TrainConfig, group: Group) -> sums.Selected | None:
    """How a step adds over the logical ranks; `None` for one alone. All ranks call it together."""
    if group.world_size == 1:
        return None
    size = len(state.weights) + len(state.buffers) + 2
    return sums.join(group, size, config.reduction, config.device_target)


def report_skipped(notes: loss_scale.SkipNotes, scaler: Floats, step: int, group: Group) -> None:
    """Rank 0 says when steps before `step` were skipped."""
    note = notes.note(scaler, step)
    if note and group.rank == 0:
        report.emit(f"note: {note}")


def ema_decay(decay: float, step: int) -> float:
    """TF's ExponentialMovingAverage with num_updates: young averages forget faster."""
    return min(decay, (1 + step) / (10 + step))
