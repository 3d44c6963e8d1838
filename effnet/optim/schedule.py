"""The learning rate of each step, a pure function of its number.

Up to the last step the values are those of the reference's table
(mindspore-ai/models, official/cv/Efficientnet/efficientnet-b2/src/lr_generator.py), its
peculiarities included: ``steps`` has no warm-up, ``poly`` and ``cosine`` do not end at ``lr_end``,
``cosine`` warms up one step ahead and counts its cosine from step 0. ``exponential`` is not the
reference's but TF's (tensorflow/tpu, models/official/efficientnet/utils.py): it counts from step 0,
so the warm-up hides its first stairs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from effnet.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class LrSchedule:
    """Warm-up over ``warmup_steps``, then ``mode`` to ``total_steps``, then ``lr_end``.

    ``decay_steps`` and ``decay_rate`` are those of ``exponential``: so many steps a stair.
    """

    mode: str
    lr_init: float
    lr_max: float
    lr_end: float
    warmup_steps: int
    total_steps: int
    decay_steps: float = 1.0
    decay_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in _SHAPES:
            known = ", ".join(_SHAPES)
            raise ValueError(f"unknown lr_decay_mode {self.mode!r}: use one of {known}")
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ValueError(f"{self.warmup_steps} warm-up steps of {self.total_steps}")

    @classmethod
    def from_config(cls, config: TrainConfig, steps_per_epoch: int) -> LrSchedule:
        """The schedule of a run whose epochs have ``steps_per_epoch`` steps."""
        return cls(
            config.lr_decay_mode,
            config.lr_init,
            config.lr_max,
            config.lr_end,
            round(config.warmup_epochs * steps_per_epoch),
            config.epoch_size * steps_per_epoch,
            config.lr_decay_epochs * steps_per_epoch,
            config.lr_decay_rate,
        )

    def lr(self, step: int) -> float:
        """The rate of step ``step``, from 0; ``lr_end`` from ``total_steps`` on."""
        if step < 0:
            raise ValueError(f"step {step}")
        if step >= self.total_steps:
            return self.lr_end
        if step < self.warmup_steps and self.mode != "steps":
            done = step + 1 if self.mode == "cosine" else step
            return self.lr_init + (self.lr_max - self.lr_init) * done / self.warmup_steps
        return _SHAPES[self.mode](self, step)


def _linear(s: LrSchedule, step: int) -> float:
    done = (step - s.warmup_steps) / (s.total_steps - s.warmup_steps)
    return s.lr_max - (s.lr_max - s.lr_end) * done


def _steps(s: LrSchedule, step: int) -> float:
    passed = sum(step >= share * s.total_steps for share in (0.3, 0.6, 0.8))
    return float(s.lr_max * (1.0, 0.1, 0.01, 0.001)[passed])


def _poly(s: LrSchedule, step: int) -> float:
    left = 1 - (step - s.warmup_steps) / (s.total_steps - s.warmup_steps)
    return s.lr_max * left * left


def _cosine(s: LrSchedule, step: int) -> float:
    decay_steps = s.total_steps - s.warmup_steps
    left = (s.total_steps - step) / decay_steps
    wave = 0.5 * (1 + math.cos(math.pi * 2 * 0.47 * step / decay_steps))
    return s.lr_max * (left * wave + 1e-5)


def _exponential(s: LrSchedule, step: int) -> float:
    return max(s.lr_max * s.decay_rate ** math.floor(step / s.decay_steps), s.lr_end)


_SHAPES: dict[str, Callable[[LrSchedule, int], float]] = {
    "linear": _linear,
    "steps": _steps,
    "poly": _poly,
    "cosine": _cosine,
    "exponential": _exponential,
}
