"""One training step as one compiled graph: a device need not wait for the host's operators."""

from __future__ import annotations

import itertools

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from effnet.config import TrainConfig
from effnet.contract.heartbeat import Heartbeat
from effnet.contract.stop import StopRequest
from effnet.data import Batch
from effnet.distributed.group import Group
from effnet.model.efficientnet import EfficientNet
from effnet.optim.loss import SmoothedCrossEntropy
from effnet.optim.schedule import LrSchedule
from effnet.train.state.device import GraphState
from effnet.train.steps.eager import LossNotFinite, StepOutcome, ema_decay

BUCKET_BYTES = 25_000_000
"""Size of one reduction, at most: DDP's choice too, so that several can be under way."""


class _ScaledLoss(nn.Cell):
    def __init__(self, net: EfficientNet, config: TrainConfig) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss_of = SmoothedCrossEntropy.from_config(config)
        self.scale = config.loss_scale

    def construct(self, images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        return self.loss_of(self.net(images, noise), labels) * self.scale


class GraphStep(nn.Cell):
    """Forward, gradients, reduction over the ranks, RMSProp and moving average.

    Takes images (N, 3, S, S), labels int32 (N,), noise (N, noise_width) and `rates` (2,): the
    learning rate, and the share that the moving average takes from this step's values. Both are
    functions of the step, so nothing has to be counted here. Returns the mean loss over the ranks.

    Unlike `TrainStep` it updates the state even if the loss is not finite; see `progress`.
    """

    def __init__(
        self,
        net: EfficientNet,
        state: GraphState,
        config: TrainConfig,
        world_size: int = 1,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.weights, self.buffers = state.weights, state.buffers
        self.mean_square = ms.ParameterTuple(state.mean_square)
        self.moment = ms.ParameterTuple(state.moment)
        self.weight_averages = ms.ParameterTuple(state.ema_weights)
        self.buffer_averages = ms.ParameterTuple(state.ema_buffers)
        self.has_average = state.has_average
        self.progress = Parameter(Tensor(np.zeros(3, np.float32)), "progress", requires_grad=False)

        self.loss_and_gradients = ms.value_and_grad(_ScaledLoss(net, config), None, self.weights)
        self.loss_scale = config.loss_scale
        self.world_size = world_size
        self.decay, self.momentum = config.opt_decay, config.momentum
        self.epsilon = config.opt_eps
        self.weight_decay = config.weight_decay
        self.decayed = state.decayed

        self.weight_count = len(self.weights)
        sizes = (*(p.size for p in (*self.weights, *self.buffers)), 1)
        self.buckets = buckets(sizes, BUCKET_BYTES)
        # Where each tensor begins in its bucket, and its size.
        self.starts = tuple(
            sum(sizes[first:i]) for first, last in self.buckets for i in range(first, last)
        )
        self.sizes = sizes
        # Loops over hundreds of tensors would be unrolled past MindSpore's recursion limit.
        self.each = ops.HyperMap()
        if world_size > 1:
            self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, images: Tensor, labels: Tensor, noise: Tensor, rates: Tensor) -> Tensor:
        scaled_loss, gradients = self.loss_and_gradients(images, labels, noise)
        own_loss = ops.reshape(scaled_loss, (1,)) / self.loss_scale
        loss = own_loss
        # The forward pass writes the statistics: they are read after it.
        buffers = self.each(ops.partial(_after, scaled_loss), self.buffers)
        if self.world_size > 1:
            reduced = self._reduce((*gradients, *buffers, own_loss))
            gradients = reduced[: self.weight_count]
            buffers = reduced[self.weight_count : -1]
            loss = reduced[-1]
            self.each(_assign, self.buffers, buffers)
        update = ops.partial(self._update, rates[0])
        self.each(update, self.decayed, self.weights, self.mean_square, self.moment, gradients)
        if self.has_average:
            average = ops.partial(_average, rates[1])
            self.each(average, self.weight_averages, self.weights)
            self.each(average, self.buffer_averages, buffers)
        finite = (_is_finite(loss), _is_finite(own_loss))
        ops.assign(self.progress, self.progress + ops.concat((loss, *finite)))
        return ops.reshape(loss, ())

    def _reduce(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The mean of each over the ranks, by way of a few large buckets."""
        flat = self.each(_flat, values)
        means: tuple[Tensor, ...] = ()
        for first, last in self.buckets:
            whole = self.all_reduce(ops.concat(flat[first:last])) / self.world_size
            means += self.each(
                ops.partial(_piece, whole),
                self.starts[first:last],
                self.sizes[first:last],
                values[first:last],
            )
        return means

    def _update(
        self,
        lr: Tensor,
        decayed: bool,
        weight: Parameter,
        mean_square: Parameter,
        moment: Parameter,
        gradient: Tensor,
    ) -> bool:
        """RMSProp as TensorFlow has it, see `effnet.optim.rmsprop`."""
        gradient = gradient * (1 / self.loss_scale)
        if self.weight_decay > 0 and decayed:
            gradient = gradient + weight * self.weight_decay
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
    """What `GraphStep` calls `rates`: float32 (2,), a function of the global step."""

    def __init__(self, config: TrainConfig, schedule: LrSchedule) -> None:
        self._ema_decay = config.ema_decay
        self._schedule = schedule

    def __call__(self, step: int) -> NDArray[np.float32]:
        share = 1 - ema_decay(self._ema_decay, step)
        return np.array([self._schedule.lr(step), share], np.float32)


class GraphSteps:
    """Runs a `GraphStep` step by step over the ordinary loader's batches."""

    def __init__(
        self, cell: GraphStep, config: TrainConfig, group: Group, heartbeat: Heartbeat
    ) -> None:
        self._cell = cell
        self._ema_decay = config.ema_decay
        self._group = group
        self._heartbeat = heartbeat
        self._phases = itertools.chain(("compile",), itertools.repeat("compute"))

    def __call__(
        self, batch: Batch, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """`step` is the global one, from 0. Raises `LossNotFinite` after the state was changed."""
        rates = np.array([lr, 1 - ema_decay(self._ema_decay, step)], np.float32)
        columns = (batch.images, batch.labels, batch.noise, rates)
        self._heartbeat.phase(next(self._phases))
        self._cell(*map(Tensor.from_numpy, columns))
        loss, finite, own_finite = self._cell.pop_progress()
        if not finite:
            raise LossNotFinite(loss, not own_finite, batch.indices)
        return StepOutcome(loss, None, any_stop(stop, self._group, self._heartbeat))


def any_stop(stop: StopRequest | None, group: Group, heartbeat: Heartbeat) -> bool:
    """Whether any rank has a stop request: all-reduces one number."""
    own = stop is not None and stop.reason is not None
    if group.size == 1:
        return own
    heartbeat.phase("reduce")
    return bool(group.sum(np.array([own], np.float32))[0] > 0)
