"""One image of a data set, by index: read, decoded, prepared, or replaced when it is broken."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from effnet.data.augment import Augmentation
from effnet.data.decode import decode
from effnet.data.errors import BadImages, DataError, UnreadableImage
from effnet.data.folders import ImageIndex
from effnet.data.preprocess import Preprocessing
from effnet.data.rng import stream

if TYPE_CHECKING:
    from effnet.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class TrainSource:
    """Training images; what comes out is a function of seed, epoch and index alone."""

    index: ImageIndex
    seed: int
    augmentation: Augmentation
    bad_images: BadImages
    keep: bool

    @classmethod
    def from_config(
        cls, index: ImageIndex, config: TrainConfig, bad_images: BadImages | None = None
    ) -> TrainSource:
        return cls(
            index,
            config.seed,
            Augmentation.from_config(config),
            BadImages(config.max_bad_images) if bad_images is None else bad_images,
            fits(index, config.image_cache_mb),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.augmentation.size_px, self.augmentation.size_px)

    def fill(self, out: np.ndarray, epoch: int, i: int) -> tuple[int, int]:
        """Image ``i`` into ``out`` (3, S, S); (label, index) of what is there.

        An unreadable image is noted and the next one takes its place, so the index can differ.
        """
        for step in range(len(self.index)):
            used = (i + step) % len(self.index)
            try:
                image = read(self.index, used, self.keep)
            except UnreadableImage as error:
                self.bad_images.add(self.index.path(used), error.message)
                continue
            self.augmentation.apply_into(out, image, stream("augment", self.seed, epoch, i))
            return int(self.index.labels[used]), used
        raise DataError(f"not one image of {self.index.root} can be read")


@dataclasses.dataclass(frozen=True)
class EvalSource:
    """Images as they are evaluated."""

    index: ImageIndex
    preprocessing: Preprocessing
    bad_images: BadImages
    keep: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.preprocessing.height_px, self.preprocessing.width_px)

    def fill(self, out: np.ndarray, epoch: int, i: int) -> tuple[int, int]:
        """Image ``i`` into ``out``; (label, i), or (-1, i) for an unreadable one, left zero."""
        try:
            image = read(self.index, i, self.keep)
        except UnreadableImage as error:
            self.bad_images.add(self.index.path(i), error.message)
            return -1, i
        out[...] = self.preprocessing.apply(image)
        return int(self.index.labels[i]), i


def read(index: ImageIndex, i: int, keep: bool) -> Image.Image:
    """Image ``i`` as RGB, from memory where it was kept."""
    image: Image.Image | None = index.decoded.get(i)
    if image is None:
        image = decode(index.path(i))
        if keep:
            index.decoded[i] = image
    return image


def fits(index: ImageIndex, limit_mb: int) -> bool:
    """Whether all images, decoded, take less than ``limit_mb``, judged by 32 of them."""
    sizes = []
    for i in np.linspace(0, len(index) - 1, num=min(32, len(index)), dtype=int):
        try:
            with Image.open(index.path(int(i))) as image:
                sizes.append(image.width * image.height * 3)
        except OSError:
            continue
    return bool(sizes) and float(np.mean(sizes)) * len(index) < limit_mb * 1e6
