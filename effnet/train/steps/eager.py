"""One training step of one rank, for a CPU: gradients, one all-reduce, one update."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from effnet import device
from effnet.config import TrainConfig
from effnet.contract import report
from effnet.contract.heartbeat import Heartbeat
from effnet.contract.stop import StopRequest
from effnet.data import Batch
from effnet.distributed import shared_memory
from effnet.distributed.group import CollectiveSum, Group, Sum
from effnet.errors import EffnetError
from effnet.model.efficientnet import EfficientNet
from effnet.optim.loss import SmoothedCrossEntropy
from effnet.optim.pieces import Pieces
from effnet.optim.rmsprop import RmsProp, Slots, average
from effnet.train.state.host import TrainState


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
    """The result of a step on one rank, or summed over all."""

    loss: float
    gradient: Pieces
    stop: bool


class TrainStep:
    """Takes a batch and a learning rate, changes `state`.

    Gradients, batch-norm statistics, loss and the stop request are in one bucket, so that the ranks
    need one all-reduce a step. Statistics become the mean over the ranks:
    rank 0's checkpoint is then the whole state. A rank alone needs no bucket: the optimizer reads
    the gradients where MindSpore left them.
    """

    def __init__(
        self,
        net: EfficientNet,
        state: TrainState,
        config: TrainConfig,
        group: Group,
        heartbeat: Heartbeat,
    ) -> None:
        self._state = state
        self._config = config
        self._group = group
        self._heartbeat = heartbeat
        self._gradients = _gradient_function(net, state, config)
        self._rms_prop = RmsProp(
            config.opt_decay,
            config.momentum,
            config.opt_eps,
            config.weight_decay,
            threads=device.thread_count(),
        )
        self._count = len(state.weights)
        self._slots = Slots(state.weights, state.mean_square, state.moment, state.ema_weights)
        self._sum = _sum_of(group, self._count + len(state.buffers) + 2, config)

    def __call__(
        self, batch: Batch, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """`step` is the global one, from 0. Raises `LossNotFinite` before anything but the
        batch-norm statistics is changed.
        """
        self._heartbeat.phase("compute")
        loss, gradients = self._gradients(
            Tensor.from_numpy(batch.images),
            Tensor.from_numpy(batch.labels),
            Tensor.from_numpy(batch.noise),
        )
        own = _Part(
            loss=float(loss.asnumpy()) / self._config.loss_scale,
            gradient=Pieces([gradient.asnumpy() for gradient in gradients]),
            stop=stop is not None and stop.reason is not None,
        )
        whole, wait_ms = own, None
        if self._sum is not None:
            whole, wait_ms = self._reduce(own, self._sum)
        if not np.isfinite(whole.loss):
            raise LossNotFinite(whole.loss, not np.isfinite(own.loss), batch.indices)
        self._update(whole.gradient, lr, step)
        return StepOutcome(whole.loss, wait_ms, whole.stop)

    def _reduce(self, own: _Part, over_ranks: Sum) -> tuple[_Part, float]:
        """The sum of gradients, the mean of the rest, and ms that it took."""
        state, size, bucket = self._state, self._group.size, over_ranks.bucket
        for place, piece in own.gradient.between(0, self._count):
            bucket[place] = piece
        bucket[self._count : -2] = state.buffers
        bucket[-2:] = own.loss, own.stop
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
        decay = ema_decay(config.ema_decay, step)
        self._rms_prop.update(
            self._slots,
            gradient,
            lr,
            gradient_scale=1 / (self._group.size * config.loss_scale),
            decayed=state.decayed,
            average_decay=decay,
        )
        if state.ema_buffers is not None:
            average(state.ema_buffers, state.buffers, decay, np.empty_like(state.buffers))


def _sum_of(group: Group, size: int, config: TrainConfig) -> Sum | None:
    """How the ranks add `size` numbers; `None` for a rank alone."""
    if group.size == 1:
        return None
    shared = shared_memory.join(group, size) if config.reduction == "auto" else None
    if group.rank == 0:
        how = "MindSpore's collective library" if shared is None else "shared memory"
        report.emit(f"note: gradients are all-reduced through {how}")
    return shared or CollectiveSum(group, size)


def ema_decay(decay: float, step: int) -> float:
    """TF's ExponentialMovingAverage with num_updates: young averages forget faster."""
    return min(decay, (1 + step) / (10 + step))


def _gradient_function(
    net: EfficientNet, state: TrainState, config: TrainConfig
) -> Callable[..., Any]:
    loss_of = SmoothedCrossEntropy.from_config(config)
    scale = config.loss_scale

    def forward(images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        return loss_of(net(images, noise), labels) * scale

    with_gradients = ms.value_and_grad(forward, None, ms.ParameterTuple(state.parameters))

    def gradients(images: Tensor, labels: Tensor, noise: Tensor) -> Any:
        return with_gradients(images, labels, noise)

    return ms.jit(gradients) if config.mode == "jit" else gradients
