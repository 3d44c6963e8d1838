"""What each optimizer does to a weight, its slots and its gradient, on flat arrays.

In NumPy, because the last bit of the result of MindSpore's optimizers depends on the array's
alignment and the number of threads: a resumed run would drift from an uninterrupted one. NumPy's
operations are IEEE's, correctly rounded for any alignment and thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from effnet.optim.pieces import Floats

if TYPE_CHECKING:
    from effnet.config import TrainConfig

FIRST_VALUES: Mapping[str, Mapping[str, float]] = {
    "rmsprop": {"mean_square": 1.0, "moment": 0.0},
    "sgd": {"moment": 0.0},
    "adamw": {"mean_square": 0.0, "moment": 0.0},
}
"""The slots of each optimizer, and what they begin with."""


@dataclass(frozen=True)
class Slots:
    """What an update changes, all flat and of one size.

    `mean_square` is `None` for an optimizer that has none, `average`, the moving average of the
    weights, where there is none.
    """

    weights: Floats
    moment: Floats
    mean_square: Floats | None = None
    average: Floats | None = None

    def part(self, here: slice) -> Slots:
        """Views of the numbers at `here`."""
        average = None if self.average is None else self.average[here]
        mean_square = None if self.mean_square is None else self.mean_square[here]
        return Slots(self.weights[here], self.moment[here], mean_square, average)


class Rule:
    """Changes `slots` in place for the gradient `g`; `g` and `t` are overwritten.

    `lr` is the learning rate, `step` the number of updates before this one.
    """

    decouples_decay = False
    """Weight decay shrinks the weights before the update; else it is L2 in the gradient."""

    def __call__(self, slots: Slots, g: Floats, t: Floats, lr: float, step: int) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class RmsProp(Rule):
    """Epsilon is inside the root.

    Source: TensorFlow's tf.compat.v1.train.RMSPropOptimizer, kernel ApplyRMSProp.
    """

    decay: float
    momentum: float
    epsilon: float

    def __call__(self, slots: Slots, g: Floats, t: Floats, lr: float, step: int) -> None:
        mean_square, moment = slots.mean_square, slots.moment
        assert mean_square is not None
        np.multiply(g, g, out=t)
        t -= mean_square
        t *= np.float32(1 - self.decay)
        mean_square += t
        np.add(mean_square, np.float32(self.epsilon), out=t)
        np.sqrt(t, out=t)
        np.divide(g, t, out=t)
        t *= np.float32(lr)
        moment *= np.float32(self.momentum)
        moment += t
        slots.weights[...] -= moment


@dataclass(frozen=True)
class Sgd(Rule):
    """With momentum, without Nesterov's. Source: torch.optim.SGD, whose dampening is 0."""

    momentum: float

    def __call__(self, slots: Slots, g: Floats, t: Floats, lr: float, step: int) -> None:
        moment = slots.moment
        moment *= np.float32(self.momentum)
        moment += g
        np.multiply(moment, np.float32(lr), out=t)
        slots.weights[...] -= t


@dataclass(frozen=True)
class AdamW(Rule):
    """Source: arXiv:1711.05101 as torch.optim.AdamW has it; epsilon is outside the root."""

    beta_1: float
    beta_2: float
    epsilon: float
    decouples_decay = True

    def __call__(self, slots: Slots, g: Floats, t: Floats, lr: float, step: int) -> None:
        mean_square, moment = slots.mean_square, slots.moment
        assert mean_square is not None
        correction_1, root_2 = corrections(self.beta_1, self.beta_2, step)
        np.subtract(g, moment, out=t)
        t *= np.float32(1 - self.beta_1)
        moment += t
        np.multiply(g, g, out=g)
        g *= np.float32(1 - self.beta_2)
        mean_square *= np.float32(self.beta_2)
        mean_square += g
        np.sqrt(mean_square, out=t)
        t /= np.float32(root_2)
        t += np.float32(self.epsilon)
        np.divide(moment, t, out=t)
        t *= np.float32(lr / correction_1)
        slots.weights[...] -= t


def corrections(beta_1: float, beta_2: float, step: int) -> tuple[float, float]:
    """AdamW's bias correction of the moment, and the root of that of the mean square."""
    return float(1 - beta_1 ** (step + 1)), float((1 - beta_2 ** (step + 1)) ** 0.5)


def rule_of(config: TrainConfig) -> Rule:
    """The rule of the key `opt`."""
    if config.opt == "sgd":
        return Sgd(config.momentum)
    if config.opt == "adamw":
        return AdamW(config.momentum, config.opt_decay, config.opt_eps)
    return RmsProp(config.opt_decay, config.momentum, config.opt_eps)
