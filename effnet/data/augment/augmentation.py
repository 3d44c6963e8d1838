"""What is done to an image before the network trains on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from effnet.data.augment.crop import Box, FloatBox, random_crop_box
from effnet.data.augment.randaugment import RandAugment, drawn
from effnet.data.augment.random_erasing import RandomErasing
from effnet.data.augment.reference_policy import Policy
from effnet.data.pixels import compiled, transforms
from effnet.data.pixels.plan import Picture, Plan
from effnet.data.preprocess import NORMALIZATION, RESAMPLING, normalise_into, scale_and_shift
from effnet.kernels.input import LONGEST_PX, Target

if TYPE_CHECKING:
    from effnet.config import TrainConfig

ImageStep = Callable[[Picture, np.random.Generator], Picture]
"""Before normalisation: an RGB image of the final size."""
ArrayStep = Callable[[NDArray[np.float32], np.random.Generator], None]
"""After normalisation: changes a float32 (3, S, S) array in place."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crop to ``size_px``, the steps of ``before``, normalise, the steps of ``after``.

    Steps have names, for reports and tests. Random numbers come from the generator that is
    handed in, in the order of the steps, and from nowhere else.
    """

    size_px: int
    resample: tuple[Image.Resampling, ...]
    """How it is resized; of several, one is drawn for each image."""
    scale: tuple[float, float]
    ratio: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    before: tuple[tuple[str, ImageStep], ...] = ()
    after: tuple[tuple[str, ArrayStep], ...] = ()

    @classmethod
    def from_config(cls, config: TrainConfig) -> Augmentation:
        mean, std = NORMALIZATION[config.normalization]
        return cls(
            config.image_size,
            tuple(RESAMPLING.values())
            if config.train_interpolation == "random"
            else (RESAMPLING[config.train_interpolation],),
            (config.crop_scale_min, config.crop_scale_max),
            (config.crop_ratio_min, config.crop_ratio_max),
            mean,
            std,
            before=_before(config),
            after=_after(config),
        )

    def box(self, rng: np.random.Generator, width: int, height: int) -> Box:
        """Where to crop an image of this size."""
        return random_crop_box(rng, width, height, self.scale, self.ratio)

    def finish_into(
        self,
        out: NDArray[np.float32],
        image: Image.Image,
        box: FloatBox,
        rng: np.random.Generator,
    ) -> None:
        """Everything after the choice of ``box`` in an RGB image, into ``out`` (3, S, S)."""
        resample = drawn(self.resample, rng)
        size = (self.size_px, self.size_px)
        form = compiled.form() if self.size_px <= LONGEST_PX else None
        if form is not None:
            plan: Picture = self._done(Plan(*size), rng)
            assert isinstance(plan, Plan)
            target = Target(box, size, (0, 0), size, resample == Image.Resampling.BICUBIC)
            scale = scale_and_shift(self.mean, self.std)
            form.prepare(out, image, target, plan.numbers, *scale)
        else:
            done = self._done(image.resize(size, resample, box=box), rng)
            normalise_into(out, np.asarray(done), self.mean, self.std)
        for _, array_step in self.after:
            array_step(out, rng)

    def _done(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """After the steps of ``before``."""
        for _, step in self.before:
            picture = step(picture, rng)
        return picture


def _before(config: TrainConfig) -> tuple[tuple[str, ImageStep], ...]:
    steps: list[tuple[str, ImageStep]] = []
    if config.hflip > 0:
        steps.append(("hflip", Flip(config.hflip)))
    if config.auto_augment == "reference":
        steps.append(("auto_augment", Policy()))
    elif config.auto_augment != "none":
        steps.append(("auto_augment", RandAugment.parse(config.auto_augment, fill_of(config))))
    if config.color_jitter > 0:
        steps.append(("color_jitter", ColorJitter(config.color_jitter)))
    return tuple(steps)


def _after(config: TrainConfig) -> tuple[tuple[str, ArrayStep], ...]:
    if config.random_erasing > 0:
        return (("random_erasing", RandomErasing(config.random_erasing)),)
    return ()


def fill_of(config: TrainConfig) -> tuple[int, ...]:
    """The mean colour, which becomes 0: what RandAugment puts where nothing was."""
    return tuple(round(255 * mean) for mean in NORMALIZATION[config.normalization][0])


@dataclasses.dataclass(frozen=True)
class Flip:
    """Left-right, with a probability."""

    probability: float

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        return transforms.flip(image) if rng.random() < self.probability else image


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation, in this order, each by a factor in 1 ± ``spread``."""

    spread: float

    def __call__(self, image: Picture, rng: np.random.Generator) -> Picture:
        low, high = max(0.0, 1 - self.spread), 1 + self.spread
        bright, contrasted, coloured = (low + (high - low) * rng.random(3)).tolist()
        image = transforms.brightness(image, bright)
        image = transforms.contrast(image, contrasted)
        return transforms.saturation(image, coloured)
