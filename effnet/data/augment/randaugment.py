"""RandAugment as timm has it: a few of 15 operations, each at a magnitude with noise.

Source: arXiv:1909.13719, and pytorch-image-models, timm/data/auto_augment.py, whose spelling
``rand-m9-mstd0.5`` this reads. Without its `inc1` a magnitude of 10 need not be the strongest:
posterize keeps fewer bits the *lower* it is, as in the AutoAugment code that it came from.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from effnet.data.pixels import transforms
from effnet.data.pixels.plan import Picture

MAX_LEVEL = 10.0
TRANSLATE_SHARE = 0.45
"""Of the side, at the highest magnitude."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Draw:
    """What an operation is given beside the image: its magnitude, and how pixels are made up."""

    level: float
    resample: Image.Resampling
    fill: tuple[int, ...]
    is_negative: bool

    def signed(self, most: float) -> float:
        """The magnitude, of which the greatest is ``most``, to the drawn side."""
        value = self.level / MAX_LEVEL * most
        return -value if self.is_negative else value

    def whole(self, most: int) -> int:
        """The magnitude, of which the greatest is ``most``, rounded down."""
        return int(self.level / MAX_LEVEL * most)


Operation = Callable[[Picture, Draw], Picture]


def drawn(choices: Sequence[T], rng: np.random.Generator) -> T:
    """One of them, evenly; of a single one nothing is drawn."""
    return choices[0] if len(choices) == 1 else choices[int(rng.integers(len(choices)))]


def _factor(draw: Draw) -> float:
    return draw.level / MAX_LEVEL * 1.8 + 0.1


def _affine(image: Picture, draw: Draw, *rows: float) -> Picture:
    return transforms.affine(image, rows, draw.resample, draw.fill)


OPERATIONS: dict[str, Operation] = {
    "autocontrast": lambda image, draw: transforms.autocontrast(image),
    "equalize": lambda image, draw: transforms.equalize(image),
    "invert": lambda image, draw: transforms.invert(image),
    "rotate": lambda image, draw: transforms.rotate(
        image, draw.signed(30), draw.resample, draw.fill
    ),
    "posterize": lambda image, draw: transforms.posterize(image, draw.whole(4)),
    "solarize": lambda image, draw: transforms.solarize_between(image, draw.whole(256), 255),
    "solarize_add": lambda image, draw: transforms.solarize_add(image, draw.whole(110)),
    "colour": lambda image, draw: transforms.saturation(image, _factor(draw)),
    "contrast": lambda image, draw: transforms.contrast(image, _factor(draw)),
    "brightness": lambda image, draw: transforms.brightness(image, _factor(draw)),
    "sharpness": lambda image, draw: transforms.sharpness(image, _factor(draw)),
    "shear_x": lambda image, draw: _affine(image, draw, 1, draw.signed(0.3), 0, 0, 1, 0),
    "shear_y": lambda image, draw: _affine(image, draw, 1, 0, 0, draw.signed(0.3), 1, 0),
    "translate_x": lambda image, draw: _affine(
        image, draw, 1, 0, draw.signed(TRANSLATE_SHARE) * image.width, 0, 1, 0
    ),
    "translate_y": lambda image, draw: _affine(
        image, draw, 1, 0, 0, 0, 1, draw.signed(TRANSLATE_SHARE) * image.height
    ),
}


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """``count`` operations, drawn evenly with repetition, each done with ``probability``.

    The magnitude is drawn for each from N(``magnitude``, ``spread``), held between 0 and 10;
    a direction is left or right by even chance.
    """

    magnitude: float = 9.0
    spread: float = 0.0
    count: int = 2
    probability: float = 0.5
    fill: tuple[int, ...] = (128, 128, 128)
    resamples: tuple[Image.Resampling, ...] = (
        Image.Resampling.BILINEAR,
        Image.Resampling.BICUBIC,
    )

    @classmethod
    def parse(cls, text: str, fill: tuple[int, ...]) -> RandAugment:
        """``rand-m9-mstd0.5-n2-p0.5``; a part that is left out is as above."""
        found = dict(re.findall(r"-(mstd|m|n|p)(\d+(?:\.\d+)?)", text))
        return cls(
            magnitude=float(found.get("m", 9)),
            spread=float(found.get("mstd", 0)),
            count=int(found.get("n", 2)),
            probability=float(found.get("p", 0.5)),
            fill=fill,
        )

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        chosen = rng.integers(len(_NAMES), size=self.count).tolist()
        for place in chosen:
            if rng.random() >= self.probability:
                continue
            image = OPERATIONS[_NAMES[place]](image, self.draw(rng))
        return image

    def draw(self, rng: np.random.Generator) -> Draw:
        """The magnitude of one operation, and the rest that it may need."""
        level = self.magnitude
        if self.spread:
            level += self.spread * float(rng.standard_normal())
        level = min(max(level, 0.0), MAX_LEVEL)
        resample = drawn(self.resamples, rng)
        return Draw(level, resample, self.fill, is_negative=bool(rng.random() < 0.5))


_NAMES = tuple(OPERATIONS)
