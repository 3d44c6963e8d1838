"""The same state as `TrainState`, in parameters that a compiled graph changes on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, ops

from effnet.model.efficientnet import EfficientNet, batch_norm_buffers
from effnet.model.freeze import frozen_parameters
from effnet.optim import loss_scale
from effnet.optim.pieces import Floats
from effnet.optim.rules import FIRST_VALUES
from effnet.train.state.host import State, has_decay, lr_factor

if TYPE_CHECKING:
    from effnet.config import TrainConfig


class GraphState(State):
    """A parameter for each tensor of `TrainState`, under the same name.

    Values are written by assignment: a compiled graph does not see `Parameter.set_data`.
    """

    def __init__(self, net: EfficientNet, config: TrainConfig) -> None:
        ema = config.ema_decay > 0
        weights, buffers = list(net.trainable_params()), batch_norm_buffers(net)
        self.weights = ParameterTuple(weights)
        self.buffers = ParameterTuple(buffers)
        self.frozen = frozen_parameters(net)
        self.decayed = tuple(has_decay(p, config) for p in weights)
        self.lr_factors = tuple(lr_factor(p, config) for p in weights)
        first = FIRST_VALUES[config.opt]
        self.moment = _twins("moment.", weights, np.zeros_like)
        self.mean_square: tuple[Parameter, ...] = ()
        if "mean_square" in first:
            self.mean_square = _twins(
                "mean_square.", weights, lambda p: np.full_like(p, first["mean_square"])
            )
        self.scaler: tuple[Parameter, ...] = ()
        if config.dynamic_loss_scale:
            first_scale = Tensor(loss_scale.first(config.loss_scale))
            self.scaler = (Parameter(first_scale, loss_scale.NAME, requires_grad=False),)
        averages = _twins("ema.", weights + buffers, np.copy) if ema else ()
        self.ema_weights = averages[: len(weights)]
        self.ema_buffers = averages[len(weights) :]
        self.parameter_count, self.has_average = sum(p.size for p in weights), ema

    def tensors(self) -> dict[str, Floats]:
        return {p.name: p.asnumpy() for part in self._parts() for p in part}

    def _set(self, tensors: Mapping[str, Floats]) -> None:
        for part in self._parts():
            _write(part, [tensors[p.name] for p in part])

    def replace(self, function: Callable[[Floats], Floats]) -> None:
        for part in self._parts():
            flat = function(np.concatenate([p.asnumpy().ravel() for p in part]))
            ends = np.cumsum([p.size for p in part])[:-1]
            pieces = np.split(flat, ends)
            _write(part, [piece.reshape(p.shape) for p, piece in zip(part, pieces, strict=True)])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        if not self.has_average:
            yield
            return
        own = (*self.weights, *self.buffers)
        kept = [p.asnumpy().copy() for p in own]
        _write(own, [p.asnumpy() for p in (*self.ema_weights, *self.ema_buffers)])
        try:
            yield
        finally:
            _write(own, kept)

    def buffer_twins(self, prefix: str) -> ParameterTuple:
        """Parameters like those of the batch-norm statistics, which belong to no state."""
        return ParameterTuple(_twins(prefix, list(self.buffers), np.copy))

    def _parts(self) -> list[Sequence[Parameter]]:
        parts = [self.weights, self.buffers, self.frozen, self.mean_square, self.moment]
        parts.append(self.scaler)
        if self.has_average:
            parts += [self.ema_weights, self.ema_buffers]
        return [part for part in parts if len(part)]


def _twins(
    prefix: str, parameters: list[Parameter], first: Callable[[Floats], Floats]
) -> tuple[Parameter, ...]:
    """A parameter beside each of `parameters`, with a first value made from its value."""
    return tuple(
        Parameter(Tensor(first(p.asnumpy())), name=prefix + p.name, requires_grad=False)
        for p in parameters
    )


def _write(parameters: Sequence[Parameter], values: Sequence[Floats]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        ops.assign(parameter, Tensor(np.ascontiguousarray(value)))
