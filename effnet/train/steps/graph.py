"""One training step as one compiled graph: a device need not wait for the host's operators."""

from __future__ import annotations

import itertools

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from effnet.config import TrainConfig
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data import Batch
from effnet.distributed.group import Group
from effnet.model.efficientnet import EfficientNet
from effnet.optim.loss_scale import FACTOR, GREATEST, WINDOW, SkipNotes
from effnet.optim.loss_scale import first as first_scale
from effnet.optim.rules import corrections
from effnet.optim.schedule import LrSchedule
from effnet.train.state.device import GraphState
from effnet.train.steps.eager import LossNotFinite, StepOutcome, ema_decay, report_skipped
from effnet.train.steps.loss import TrainingLoss

BUCKET_BYTES = 25_000_000
"""Size of one reduction, at most: DDP's choice too, so that several can be under way."""


class GraphStep(nn.Cell):
    """Forward, gradients, reduction over the ranks, optimizer and moving average.

    Takes images (N, 3, S, S), labels int32 (N,), noise (N, noise_width) and `rates` (4,): the
    learning rate, the share that the moving average takes from this step's values, and AdamW's
    corrections. All are functions of the step, so nothing has to be counted here. Returns the mean
    loss over the logical ranks. Accumulated batches are parts of N, one after the other in one
    graph. So are those of logical ranks, each from the statistics that the step began with.

    Unlike `TrainStep` it updates the state even if the loss is not finite; see `progress`.
    """

    def __init__(
        self,
        net: EfficientNet,
        state: GraphState,
        config: TrainConfig,
        group: Group = Group(),  # noqa: B008 it is frozen
    ) -> None:
        super().__init__(auto_prefix=False)
        self.weights, self.buffers = state.weights, state.buffers
        self.mean_square = ms.ParameterTuple(state.mean_square)
        self.moment = ms.ParameterTuple(state.moment)
        self.weight_averages = ms.ParameterTuple(state.ema_weights)
        self.buffer_averages = ms.ParameterTuple(state.ema_buffers)
        self.has_average = state.has_average
        self.progress = Parameter(Tensor(np.zeros(3, np.float32)), "progress", requires_grad=False)

        self.loss_and_gradients = ms.value_and_grad(
            TrainingLoss(net, config), None, self.weights, has_aux=True
        )
        self.batch_size, self.accumulation = config.batch_size, config.accumulation_steps
        self.opt, self.clip_norm = config.opt, config.clip_norm
        self.has_buffers = len(self.buffers) > 0
        self.is_dynamic = config.dynamic_loss_scale
        # A fixed scale too, as a constant.
        self.scaler = state.scaler[0] if state.scaler else Tensor(first_scale(config.loss_scale))
        self.processes, self.world_size = group.size, group.world_size
        self.carried = len(group.logical_ranks)
        self.takes_turns = self.carried > 1 and self.has_buffers
        twins = state.buffer_twins if self.takes_turns else (lambda prefix: self.buffers)
        self.first_buffers, self.buffer_sums = twins("first."), twins("sum.")
        self.decay, self.momentum = config.opt_decay, config.momentum
        self.epsilon = config.opt_eps
        self.weight_decay = config.weight_decay
        self.decayed, self.lr_factors = state.decayed, state.lr_factors
        # Slots that the optimizer lacks: something of the same length.
        if not self.mean_square:
            self.mean_square = self.weights

        self.weight_count = len(self.weights)
        sizes = (*(p.size for p in (*self.weights, *self.buffers)), 2)
        self.buckets = buckets(sizes, BUCKET_BYTES)
        # Where each tensor begins in its bucket, and its size.
        self.starts = tuple(
            sum(sizes[first:i]) for first, last in self.buckets for i in range(first, last)
        )
        self.sizes = sizes
        # Loops over hundreds of tensors would be unrolled past MindSpore's recursion limit.
        self.each = ops.HyperMap()
        if group.size > 1:
            self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, images: Tensor, labels: Tensor, noise: Tensor, rates: Tensor) -> Tensor:
        size = self.batch_size
        loss_scale = self.scaler[0]
        if self.takes_turns:
            self.each(_assign, self.first_buffers, self.buffers)
            self.each(_clear, self.buffer_sums)
        (_, loss_sum), gradients = self.loss_and_gradients(
            images[:size], labels[:size], noise[:size], loss_scale
        )
        for count in range(1, self.carried * self.accumulation):
            if self.takes_turns and count % self.accumulation == 0:
                self._end_turn(loss_sum)
                self.each(_assign, self.buffers, self.first_buffers)
            here = slice(count * size, (count + 1) * size)
            (_, more_loss), more = self.loss_and_gradients(
                images[here], labels[here], noise[here], loss_scale
            )
            loss_sum = loss_sum + more_loss
            gradients = self.each(_add, gradients, more)
        # Of the logical ranks that it carries the sum, as `_reduce` has it of ranks.
        own_loss = ops.reshape(loss_sum, (1,)) / self.accumulation
        loss = own_loss
        # By the status register where the device saturates instead, as MindSpore's own amp. It is
        # this rank's register: all ranks must skip the step.
        is_finite = ms.amp.all_finite(gradients) if self.is_dynamic else Tensor(True)
        buffers: tuple[Tensor, ...] = ()
        if self.has_buffers:
            # The forward pass writes the statistics: they are read after it.
            buffers = self.each(ops.partial(_after, loss_sum), self.buffers)
            if self.takes_turns:
                self._end_turn(loss_sum)
                buffers = self.each(ops.partial(_after, loss_sum), self.buffer_sums)
        if self.world_size > 1:
            own_finite = ops.reshape(ops.cast(is_finite, ms.float32), (1,)) * self.carried
            own = ops.concat((own_loss, own_finite))
            reduced = self._reduce((*gradients, *buffers, own))
            gradients = reduced[: self.weight_count]
            loss = reduced[-1][:1]
            if self.is_dynamic:
                # Their sum may overflow as well.
                finite = ops.stack(self.each(_all_finite, gradients)).all()
                is_finite = ops.logical_and(reduced[-1][1] == 1, finite)
            if self.has_buffers:
                buffers = reduced[self.weight_count : -1]
                self.each(_assign, self.buffers, buffers)
        scale = 1 / (loss_scale * self.accumulation)
        if self.is_dynamic:
            ops.assign(self.scaler, self._adjusted(is_finite))
            if is_finite:
                self._apply(rates, scale, gradients, buffers)
        else:
            self._apply(rates, scale, gradients, buffers)
        finite = (_is_finite(loss), _is_finite(own_loss))
        ops.assign(self.progress, self.progress + ops.concat((loss, *finite)))
        return ops.reshape(loss, ())

    def _end_turn(self, loss: Tensor) -> bool:
        """Add the statistics as they are when `loss` is known."""
        self.each(ops.partial(_add_to, loss), self.buffer_sums, self.buffers)
        return True

    def _adjusted(self, is_finite: Tensor) -> Tensor:
        """See `effnet.optim.loss_scale.adjust`."""
        scale, good, skipped = self.scaler[0], self.scaler[1] + 1, self.scaler[2]
        is_full = good >= WINDOW
        doubled = ops.maximum(scale, ops.minimum(scale * FACTOR, Tensor(GREATEST, ms.float32)))
        after_good = ops.stack(
            (
                ops.select(is_full, doubled, scale),
                ops.select(is_full, ops.zeros_like(good), good),
                skipped,
            )
        )
        halved = ops.maximum(scale / FACTOR, ops.ones_like(scale))
        after_bad = ops.stack((halved, ops.zeros_like(good), skipped + 1))
        return ops.select(ops.broadcast_to(is_finite, (3,)), after_good, after_bad)

    def _apply(
        self,
        rates: Tensor,
        scale: Tensor,
        gradients: tuple[Tensor, ...],
        buffers: tuple[Tensor, ...],
    ) -> bool:
        """Clipping, the optimizer and the moving average."""
        if self.clip_norm > 0:
            norm = ops.sqrt(ops.addn(self.each(_square_sum, gradients))) * scale
            scale = scale * ops.minimum(self.clip_norm / (norm + 1e-6), Tensor(1.0, ms.float32))
        update = ops.partial(self._update, rates, scale)
        self.each(
            update,
            self.decayed,
            self.lr_factors,
            self.weights,
            self.mean_square,
            self.moment,
            gradients,
        )
        if self.has_average:
            average = ops.partial(_average, rates[1])
            self.each(average, self.weight_averages, self.weights)
            if self.has_buffers:
                self.each(average, self.buffer_averages, buffers)
        return True

    def _reduce(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The mean of each over the logical ranks, by way of a few large buckets."""
        flat = self.each(_flat, values)
        means: tuple[Tensor, ...] = ()
        for first, last in self.buckets:
            whole = ops.concat(flat[first:last])
            if self.processes > 1:
                whole = self.all_reduce(whole)
            whole = whole / self.world_size
            means += self.each(
                ops.partial(_piece, whole),
                self.starts[first:last],
                self.sizes[first:last],
                values[first:last],
            )
        return means

    def _update(
        self,
        rates: Tensor,
        scale: Tensor,
        decayed: bool,
        lr_factor: float,
        weight: Parameter,
        mean_square: Parameter,
        moment: Parameter,
        gradient: Tensor,
    ) -> bool:
        """The optimizer's rule, see `effnet.optim.rules`."""
        lr = rates[0] * lr_factor
        gradient = gradient * scale
        if self.opt == "adamw":
            first = moment + (gradient - moment) * (1 - self.momentum)
            square = mean_square * self.decay + gradient * gradient * (1 - self.decay)
            kept = weight
            if self.weight_decay > 0 and decayed:
                kept = weight * (1 - lr * self.weight_decay)
            change = first / (ops.sqrt(square) / rates[3] + self.epsilon) * (lr / rates[2])
            ops.assign(mean_square, square)
            ops.assign(moment, first)
            ops.assign(weight, kept - change)
            return True
        if self.weight_decay > 0 and decayed:
            gradient = gradient + weight * self.weight_decay
        if self.opt == "sgd":
            first = moment * self.momentum + gradient
            ops.assign(moment, first)
            ops.assign(weight, weight - first * lr)
            return True
        # Not ApplyRMSProp: MindSpore 2.10's has epsilon outside the root on a CPU, for all numbers
        # but the last few of a tensor.
        square = mean_square + (gradient * gradient - mean_square) * (1 - self.decay)
        change = moment * self.momentum + gradient / ops.sqrt(square + self.epsilon) * lr
        ops.assign(mean_square, square)
        ops.assign(moment, change)
        ops.assign(weight, weight - change)
        return True

    def pop_progress(self) -> tuple[float, int, int]:
        """Of the steps since the last call: the sum of losses, how many of them were finite, and
        how many of this rank's own. Waits for the device.
        """
        loss, finite, own_finite = self.progress.asnumpy().tolist()
        ops.assign(self.progress, Tensor(np.zeros(3, np.float32)))
        return loss, int(finite), int(own_finite)


# What is done to each of many tensors; the results that are `True` are for HyperMap alone.


def _after(before: Tensor, value: Tensor) -> Tensor:
    """`value` as it is when `before` is known."""
    return ops.depend(value, before)


def _flat(value: Tensor) -> Tensor:
    return ops.reshape(value, (-1,))


def _piece(flat: Tensor, start: int, size: int, example: Tensor) -> Tensor:
    return ops.reshape(ops.slice(flat, (start,), (size,)), example.shape)


def _assign(parameter: Parameter, value: Tensor) -> bool:
    ops.assign(parameter, value)
    return True


def _clear(parameter: Parameter) -> bool:
    ops.assign(parameter, ops.zeros_like(parameter))
    return True


def _add_to(before: Tensor, parameter: Parameter, value: Tensor) -> bool:
    """Adds `value` as it is when `before` is known."""
    ops.assign(parameter, parameter + ops.depend(value, before))
    return True


def _add(one: Tensor, other: Tensor) -> Tensor:
    return one + other


def _square_sum(value: Tensor) -> Tensor:
    return ops.sum(value * value)


def _all_finite(value: Tensor) -> Tensor:
    return ops.isfinite(value).all()


def _average(share: Tensor, average: Parameter, value: Tensor) -> bool:
    ops.assign(average, average + (value - average) * share)
    return True


def _is_finite(loss: Tensor) -> Tensor:
    return ops.cast(ops.isfinite(loss), ms.float32)


def buckets(sizes: tuple[int, ...], limit_bytes: int) -> tuple[tuple[int, int], ...]:
    """(first, last) of neighbours whose float32 numbers are at most `limit_bytes` together.

    A tensor that is larger has a bucket of its own.
    """
    found, first, filled = [], 0, 0
    for i, size in enumerate(sizes):
        if i > first and filled + 4 * size > limit_bytes:
            found.append((first, i))
            first, filled = i, 0
        filled += 4 * size
    return (*found, (first, len(sizes)))


class Rates:
    """What `GraphStep` calls `rates`: float32 (4,), a function of the global step."""

    def __init__(self, config: TrainConfig, schedule: LrSchedule) -> None:
        self._config = config
        self._schedule = schedule

    def __call__(self, step: int) -> NDArray[np.float32]:
        return rates_of(self._config, self._schedule.lr(step), step)


def rates_of(config: TrainConfig, lr: float, step: int) -> NDArray[np.float32]:
    """The same for a learning rate that is known."""
    share = 1 - ema_decay(config.ema_decay, step)
    adamw = (1.0, 1.0)
    if config.opt == "adamw":
        adamw = corrections(config.momentum, config.opt_decay, step)
    return np.array([lr, share, *adamw], np.float32)


class GraphSteps:
    """Runs a `GraphStep` step by step over the ordinary loader's batches."""

    def __init__(
        self, cell: GraphStep, config: TrainConfig, group: Group, heartbeat: Heartbeat
    ) -> None:
        self._cell = cell
        self._notes = SkipNotes(cell.scaler.asnumpy())
        self._config = config
        self._group = group
        self._heartbeat = heartbeat
        self._phases = itertools.chain(("compile",), itertools.repeat("compute"))

    def __call__(
        self, batch: Batch, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """`step` is the global one, from 0. Raises `LossNotFinite` after the state was changed."""
        rates = rates_of(self._config, lr, step)
        columns = (batch.images, batch.labels, batch.noise, rates)
        self._heartbeat.phase(next(self._phases))
        self._cell(*map(Tensor.from_numpy, columns))
        loss, finite, own_finite = self._cell.pop_progress()
        if not finite:
            raise LossNotFinite(loss, not own_finite, batch.indices)
        report_skipped(self._notes, self._cell.scaler.asnumpy(), step + 1, self._group)
        return StepOutcome(loss, None, any_stop(stop, self._group, self._heartbeat))


def any_stop(stop: StopRequest | None, group: Group, heartbeat: Heartbeat) -> bool:
    """Whether any rank has a stop request: all-reduces one number."""
    own = stop is not None and stop.reason is not None
    if group.size == 1:
        return own
    heartbeat.phase("reduce")
    return bool(group.sum(np.array([own], np.float32))[0] > 0)
