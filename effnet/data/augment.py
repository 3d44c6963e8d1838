"""What is done to an image before the network trains on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from effnet.data.crop import random_crop_box
from effnet.data.preprocess import NORMALIZATION, RESAMPLING, normalise_into

if TYPE_CHECKING:
    from effnet.config import TrainConfig

ImageStep = Callable[[Image.Image, np.random.Generator], Image.Image]
ArrayStep = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Crop to ``size_px``, then named steps on the image, normalise, then on the array."""

    size_px: int
    resample: Image.Resampling
    scale: tuple[float, float]
    ratio: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    before: tuple[tuple[str, ImageStep], ...] = ()
    after: tuple[tuple[str, ArrayStep], ...] = ()

    @classmethod
    def from_config(cls, config: TrainConfig) -> Augmentation:
        mean, std = NORMALIZATION[config.normalization]
        before: list[tuple[str, ImageStep]] = []
        if config.hflip > 0:
            before.append(("hflip", Flip(config.hflip)))
        return cls(
            config.image_size,
            RESAMPLING[config.train_interpolation],
            (config.crop_scale_min, config.crop_scale_max),
            (config.crop_ratio_min, config.crop_ratio_max),
            mean,
            std,
            tuple(before),
        )

    def apply_into(self, out: np.ndarray, image: Image.Image, rng: np.random.Generator) -> None:
        """Augment an RGB image into float32 ``out`` (3, size, size)."""
        box = random_crop_box(rng, image.width, image.height, self.scale, self.ratio)
        image = image.resize((self.size_px, self.size_px), self.resample, box=box)
        for _, step in self.before:
            image = step(image, rng)
        normalise_into(out, np.asarray(image), self.mean, self.std)
        for _, array_step in self.after:
            out[...] = array_step(out, rng)


@dataclasses.dataclass(frozen=True)
class Flip:
    """Left-right, with a probability."""

    probability: float

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        if rng.random() < self.probability:
            return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image
