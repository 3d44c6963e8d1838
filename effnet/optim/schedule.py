"""The learning rate of each step, a pure function of its number.

Up to the last step the values are those of the reference's table
(mindspore-ai/models, official/cv/Efficientnet/efficientnet-b2/src/lr_generator.py), its
peculiarities included: ``steps`` has no warm-up, ``poly`` and ``reference-cosine`` do not end at
``lr_end``, ``reference-cosine`` warms up one step ahead and counts its cosine from step 0.

Two are not the reference's: ``exponential`` is TF's (tensorflow/tpu,
models/official/efficientnet/utils.py) and counts from step 0, so the warm-up hides its first
stairs; ``cosine`` is half a wave from the end of the warm-up to ``lr_end`` (arXiv:1608.03983
without restarts, as timm's CosineLRScheduler and torch's CosineAnnealingLR).
"""

from __future__ import annotations

import dataclasses
import math
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
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ValueError(f"{self.warmup_steps} warm-up steps of {self.total_steps}")

    @classmethod
    def from_config(
        cls, config: TrainConfig, steps_per_epoch: int, world_size: int = 1
    ) -> LrSchedule:
        """The schedule of a run whose epochs have ``steps_per_epoch`` steps."""
        return cls(
            config.lr_decay_mode,
            config.lr_init,
            lr_max(config, world_size),
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
        if self.mode == "steps":
            passed = sum(step >= share * self.total_steps for share in (0.3, 0.6, 0.8))
            return float(self.lr_max * (1.0, 0.1, 0.01, 0.001)[passed])
        if step < self.warmup_steps:
            place = step + 1 if self.mode == "reference-cosine" else step
            return self.lr_init + (self.lr_max - self.lr_init) * place / self.warmup_steps
        decay_steps = self.total_steps - self.warmup_steps
        done = (step - self.warmup_steps) / decay_steps
        if self.mode == "linear":
            return self.lr_max - (self.lr_max - self.lr_end) * done
        if self.mode == "poly":
            return self.lr_max * (1 - done) * (1 - done)
        if self.mode == "cosine":
            wave = 0.5 * (1 + math.cos(math.pi * done))
            return self.lr_end + (self.lr_max - self.lr_end) * wave
        if self.mode == "reference-cosine":
            left = (self.total_steps - step) / decay_steps
            wave = 0.5 * (1 + math.cos(math.pi * 2 * 0.47 * step / decay_steps))
            return self.lr_max * (left * wave + 1e-5)
        if self.mode == "exponential":
            stairs = math.floor(step / self.decay_steps)
            return max(self.lr_max * self.decay_rate**stairs, self.lr_end)
        raise ValueError(f"unknown lr_decay_mode {self.mode!r}")


def lr_max(config: TrainConfig, world_size: int) -> float:
    """The highest rate: the key lr_max, or lr_per_256 times the images of a step / 256."""
    if not config.lr_per_256:
        return config.lr_max
    return config.lr_per_256 * config.images_per_step * world_size / 256
