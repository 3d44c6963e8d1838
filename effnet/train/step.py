"""One training step of one rank, as a CPU does it best: gradients, one reduction, one update."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from effnet.config import TrainConfig
from effnet.data import Batch
from effnet.errors import EffnetError
from effnet.model import EfficientNet
from effnet.optim.loss import SmoothedCrossEntropy
from effnet.optim.rmsprop import Floats, RmsProp, aligned
from effnet.train.group import Group
from effnet.train.heartbeat import Heartbeat
from effnet.train.state import TrainState
from effnet.train.stop import StopRequest


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
    """What one call did. `stop` says that some rank was asked to stop.

    `loss` is the mean over all ranks and `steps` steps, `wait_ms` the mean over the steps.
    """

    loss: float
    wait_ms: float | None
    stop: bool
    steps: int = 1


class TrainStep:
    """Takes a batch and a learning rate, changes `state`.

    Gradients, batch-norm statistics, loss and the wish to stop ride in one bucket, so that the
    ranks meet once a step and agree on all of it. Statistics become the mean over the ranks:
    rank 0's checkpoint is then the whole state.
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
            config.opt_decay, config.momentum, config.opt_eps, config.weight_decay
        )
        self._count = len(state.weights)
        self._bucket = aligned(self._count + len(state.buffers) + 2)

    def __call__(
        self, batch: Batch, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """`step` is the global one, from 0. Raises `LossNotFinite` before anything is changed,
        batch-norm statistics apart.
        """
        self._heartbeat.phase("compute")
        loss, gradients = self._gradients(
            Tensor.from_numpy(batch.images),
            Tensor.from_numpy(batch.labels),
            Tensor.from_numpy(batch.noise),
        )
        own_loss = float(loss.asnumpy()) / self._config.loss_scale
        asked = stop is not None and stop.reason is not None
        bucket, wait_ms = self._reduce(own_loss, gradients, asked)
        mean_loss, stop_share = float(bucket[-2]) / self._group.size, float(bucket[-1])
        if not np.isfinite(mean_loss):
            raise LossNotFinite(mean_loss, not np.isfinite(own_loss), batch.indices)
        self._heartbeat.phase("compute")
        self._update(bucket, lr, step)
        return StepOutcome(mean_loss, wait_ms, stop_share > 0)

    def _reduce(
        self, loss: float, gradients: tuple[Tensor, ...], stop: bool
    ) -> tuple[Floats, float | None]:
        state, bucket = self._state, self._bucket
        for span, gradient in zip(state.weight_spans, gradients, strict=True):
            span.of(bucket)[...] = gradient.asnumpy()
        bucket[self._count : -2] = state.buffers
        bucket[-2:] = loss, stop
        if self._group.size == 1:
            return bucket, None
        self._heartbeat.phase("reduce")
        start_s = time.perf_counter()
        reduced = self._group.sum(bucket)
        return reduced, (time.perf_counter() - start_s) * 1e3

    def _update(self, bucket: Floats, lr: float, step: int) -> None:
        state, config = self._state, self._config
        self._rms_prop.update(
            state.weights,
            state.mean_square,
            state.moment,
            bucket[: self._count],
            lr,
            gradient_scale=1 / (self._group.size * config.loss_scale),
            decayed=state.decayed,
        )
        if self._group.size > 1:
            np.multiply(
                bucket[self._count : -2], np.float32(1 / self._group.size), out=state.buffers
            )
        if state.ema_weights is not None and state.ema_buffers is not None:
            decay = ema_decay(config.ema_decay, step)
            _average(state.ema_weights, state.weights, decay)
            _average(state.ema_buffers, state.buffers, decay)


def ema_decay(decay: float, step: int) -> float:
    """TF's ExponentialMovingAverage with num_updates: young averages forget faster."""
    return min(decay, (1 + step) / (10 + step))


def _average(average: Floats, values: Floats, decay: float) -> None:
    average *= np.float32(decay)
    average += np.float32(1 - decay) * values


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
