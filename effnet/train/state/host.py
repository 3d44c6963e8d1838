"""Everything that the next step depends on, except the data: one flat array for each kind.

A step works on flat arrays: the gradient bucket that the ranks reduce has the layout of
`weights`, so the optimizer is one pass over 9 million numbers instead of 301 small ones. The
network's parameters are views into the same memory.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np
from mindspore import Parameter

from effnet.errors import EffnetError
from effnet.model.efficientnet import EfficientNet, batch_norm_buffers
from effnet.model.freeze import HEAD, frozen_parameters
from effnet.optim import loss_scale
from effnet.optim.optimizer import Part
from effnet.optim.pieces import Floats, aligned
from effnet.optim.rules import FIRST_VALUES

if TYPE_CHECKING:
    from effnet.config import TrainConfig


class StateMismatch(EffnetError):
    """A checkpoint's tensors do not fit this run."""

    kind = "checkpoint"


class State(ABC):
    """Everything that the next step depends on, except the data.

    `TrainState` has the numbers in host memory, `GraphState` in the device's; their tensors have
    the same names and shapes, so a checkpoint of one continues in the other.
    """

    parameter_count: int
    """Trainable numbers."""
    has_average: bool
    """Whether there is a moving average."""

    @abstractmethod
    def tensors(self) -> dict[str, Floats]:
        """All of it by name: weights and statistics under their own, the rest under a prefix.

        These may be views.
        """

    @abstractmethod
    def _set(self, tensors: Mapping[str, Floats]) -> None: ...

    def load(self, tensors: Mapping[str, Floats]) -> None:
        """Copy every tensor from `tensors`; raises `StateMismatch` before any is changed."""
        own = self.tensors()
        if loss_scale.NAME in own and loss_scale.NAME not in tensors:
            # The checkpoint is of a run with a fixed one.
            tensors = {**tensors, loss_scale.NAME: own[loss_scale.NAME].copy()}
        require_fitting(own, tensors)
        self._set(tensors)

    @abstractmethod
    def replace(self, function: Callable[[Floats], Floats]) -> None:
        """Put every number through `function`, which is given flat arrays, in a fixed order."""

    @abstractmethod
    def averaged(self) -> AbstractContextManager[None]:
        """The network has the moving averages within this block, where there are any."""


@dataclass(frozen=True)
class Span:
    """Where a tensor lies in a flat array."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]

    def of(self, flat: Floats) -> Floats:
        return flat[self.start : self.stop].reshape(self.shape)


class TrainState(State):
    """Weights, batch-norm statistics, optimizer slots and moving average of one network.

    Frozen parts have neither slots nor an average; they are here because a checkpoint has them.

    `parts` say which of `weights` have weight decay and what learning rate: where batch norm and
    biases have no decay, they come last.
    """

    def __init__(self, net: EfficientNet, config: TrainConfig) -> None:
        ema, weights = config.ema_decay > 0, list(net.trainable_params())
        weights.sort(key=lambda p: not has_decay(p, config))
        self.parameters = weights
        self.weight_spans = _spans(weights)
        self.buffer_spans = _spans(batch_norm_buffers(net))
        frozen = frozen_parameters(net)
        self.frozen_spans = _spans(frozen)
        self.weights = _adopt(weights, self.weight_spans)
        self.buffers = _adopt(batch_norm_buffers(net), self.buffer_spans)
        self.frozen = _adopt(frozen, self.frozen_spans)
        self.parts = _parts_of(weights, config)
        first = FIRST_VALUES[config.opt]
        self.moment = np.full_like(self.weights, first["moment"])
        self.mean_square: Floats | None = None
        if "mean_square" in first:
            self.mean_square = np.full_like(self.weights, first["mean_square"])
        self.ema_weights = self.weights.copy() if ema else None
        self.ema_buffers = self.buffers.copy() if ema else None
        self.scaler = loss_scale.first(config.loss_scale) if config.dynamic_loss_scale else None
        self.parameter_count, self.has_average = len(self.weights), ema

    def tensors(self) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for prefix, spans, flat in self._parts():
            found.update({prefix + span.name: span.of(flat) for span in spans})
        return found

    def _set(self, tensors: Mapping[str, Floats]) -> None:
        for name, own in self.tensors().items():
            own[...] = tensors[name]

    def replace(self, function: Callable[[Floats], Floats]) -> None:
        for _, _, flat in self._parts():
            if flat.size:
                flat[...] = function(flat)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        if self.ema_weights is None or self.ema_buffers is None:
            yield
            return
        weights, buffers = self.weights.copy(), self.buffers.copy()
        self.weights[...], self.buffers[...] = self.ema_weights, self.ema_buffers
        try:
            yield
        finally:
            self.weights[...], self.buffers[...] = weights, buffers

    def _parts(self) -> list[tuple[str, list[Span], Floats]]:
        parts = [
            ("", self.weight_spans, self.weights),
            ("", self.buffer_spans, self.buffers),
            ("", self.frozen_spans, self.frozen),
            ("moment.", self.weight_spans, self.moment),
        ]
        if self.mean_square is not None:
            parts.insert(3, ("mean_square.", self.weight_spans, self.mean_square))
        if self.scaler is not None:
            parts.append(("", [Span(loss_scale.NAME, 0, 3, (3,))], self.scaler))
        if self.ema_weights is not None and self.ema_buffers is not None:
            parts += [
                ("ema.", self.weight_spans, self.ema_weights),
                ("ema.", self.buffer_spans, self.ema_buffers),
            ]
        return parts


def has_decay(parameter: Parameter, config: TrainConfig) -> bool:
    """Whether weight decay is for it; batch norm's and biases are the vectors among them."""
    return config.decay_bn_and_bias or parameter.ndim > 1


def lr_factor(parameter: Parameter, config: TrainConfig) -> float:
    """What its learning rate is multiplied by."""
    return 1.0 if parameter.name.startswith(HEAD) else config.backbone_lr


def _parts_of(weights: list[Parameter], config: TrainConfig) -> list[Part]:
    parts: list[Part] = []
    stop = 0
    for parameter in weights:
        stop += parameter.size
        part = Part(stop, has_decay(parameter, config), lr_factor(parameter, config))
        if parts and replace(parts[-1], stop=stop) == part:
            parts.pop()
        parts.append(part)
    return parts


def require_fitting(own: Mapping[str, Floats], tensors: Mapping[str, Floats]) -> None:
    """Raises `StateMismatch` where `tensors` lack one of `own` or have it in another shape."""
    problems = []
    for name, tensor in own.items():
        found = tensors.get(name)
        if found is None:
            problems.append(f"{name}: missing")
        elif found.shape != tensor.shape:
            problems.append(f"{name}: shape {found.shape}, expected {tensor.shape}")
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise StateMismatch(
            "the checkpoint does not fit this network: " + "; ".join(problems[:8]) + more
        )


def _spans(parameters: list[Parameter]) -> list[Span]:
    ends = np.cumsum([p.size for p in parameters], dtype=int).tolist()
    return [
        Span(p.name, end - p.size, end, tuple(p.shape))
        for p, end in zip(parameters, ends, strict=True)
    ]


def _adopt(parameters: list[Parameter], spans: list[Span]) -> Floats:
    """A flat copy of `parameters`, which become views into it."""
    flat = aligned(spans[-1].stop if spans else 0)
    for parameter, span in zip(parameters, spans, strict=True):
        view = span.of(flat)
        view[...] = parameter.asnumpy()
        parameter.set_data(ms.Tensor.from_numpy(view))
        if not np.shares_memory(parameter.asnumpy(), flat):
            raise RuntimeError(f"MindSpore copied {span.name}; the flat state needs shared memory")
    return flat


def is_finite(tensors: Mapping[str, Floats]) -> bool:
    """Whether every number is finite."""
    return all(bool(np.isfinite(tensor).all()) for tensor in tensors.values())


def digest(tensors: Mapping[str, Floats]) -> str:
    """The first 16 hex digits of the sha256 over names and bits; equal for equal bits only."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(tensors[name]).data)
    return found.hexdigest()[:16]
