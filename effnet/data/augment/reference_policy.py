"""The reference's augmentation policy: one of 25 pairs of operations, each with its chance.

Read off mindspore-ai/models, official/cv/Efficientnet/efficientnet-b2/src/dataset.py, and kept as
it acts there, which is not AutoAugment as published: solarize inverts a random range of values
below its threshold, shear is 0.15 *degrees*, posterize keeps 1 or 2 bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from effnet.data.pixels import transforms
from effnet.data.pixels.plan import Picture

Operation = Callable[[Picture, int, np.random.Generator], Picture]
"""An image, the level from 0 to 10, and where random numbers come from."""


def _either_sign(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value


def _solarize(image: Picture, level: int, rng: np.random.Generator) -> Picture:
    threshold = 256 - level * 256 // 10
    low, high = sorted(rng.integers(0, threshold, size=2, endpoint=True).tolist())
    return transforms.solarize_between(image, low, high)


def _factor(level: int) -> float:
    return level * 1.8 / 10 + 0.1


OPERATIONS: dict[str, Operation] = {
    "posterize": lambda image, level, rng: transforms.posterize(image, 4 - level * 4 // 10),
    "rotate": lambda image, level, rng: transforms.rotate(
        image, _either_sign(level * 30 // 10, rng)
    ),
    "shear_x": lambda image, level, rng: transforms.shear_x(
        image, _either_sign(level * 0.3 / 10, rng)
    ),
    "solarize": _solarize,
    "colour": lambda image, level, rng: transforms.saturation(image, _factor(level)),
    "contrast": lambda image, level, rng: transforms.contrast(image, _factor(level)),
    "sharpness": lambda image, level, rng: transforms.sharpness(image, _factor(level)),
    "equalize": lambda image, level, rng: transforms.equalize(image),
    "autocontrast": lambda image, level, rng: transforms.autocontrast(image),
    "invert": lambda image, level, rng: transforms.invert(image),
}

Step = tuple[str, int, float]
"""Operation, level, probability."""

REFERENCE: tuple[tuple[Step, Step], ...] = (
    (("posterize", 8, 0.4), ("rotate", 9, 0.6)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("equalize", 0, 0.8), ("equalize", 0, 0.6)),
    (("posterize", 7, 0.6), ("posterize", 6, 0.6)),
    (("equalize", 0, 0.4), ("solarize", 4, 0.2)),
    (("equalize", 0, 0.4), ("rotate", 8, 0.8)),
    (("solarize", 3, 0.6), ("equalize", 0, 0.6)),
    (("posterize", 5, 0.8), ("equalize", 0, 1.0)),
    (("rotate", 3, 0.2), ("solarize", 8, 0.6)),
    (("equalize", 0, 0.6), ("posterize", 6, 0.4)),
    (("rotate", 8, 0.8), ("colour", 0, 0.4)),
    (("rotate", 9, 0.4), ("equalize", 0, 0.6)),
    (("equalize", 0, 0.0), ("equalize", 0, 0.8)),
    (("invert", 0, 0.6), ("equalize", 0, 1.0)),
    (("colour", 4, 0.6), ("contrast", 8, 1.0)),
    (("rotate", 8, 0.8), ("colour", 2, 1.0)),
    (("colour", 8, 0.8), ("solarize", 7, 0.8)),
    (("sharpness", 7, 0.4), ("invert", 0, 0.6)),
    (("shear_x", 5, 0.6), ("equalize", 0, 1.0)),
    (("colour", 0, 0.4), ("equalize", 0, 0.6)),
    (("equalize", 0, 0.4), ("solarize", 4, 0.2)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("invert", 0, 0.6), ("equalize", 0, 1.0)),
    (("colour", 4, 0.6), ("contrast", 8, 1.0)),
    (("equalize", 0, 0.8), ("equalize", 0, 0.6)),
)


@dataclasses.dataclass(frozen=True)
class Policy:
    """One of ``choices``, drawn evenly, and its steps in order, each with its probability."""

    choices: tuple[tuple[Step, ...], ...] = REFERENCE

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        for name, level, probability in self.choices[int(rng.integers(len(self.choices)))]:
            if rng.random() < probability:
                image = OPERATIONS[name](image, level, rng)
        return image
