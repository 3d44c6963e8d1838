"""One image of a data set, by index: read, decoded, prepared, or replaced if it is unreadable."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from effnet.data.augment.augmentation import Augmentation
from effnet.data.augment.crop import Box
from effnet.data.decode import Part, decode, decode_part, header
from effnet.data.errors import BadImages, DataError, UnreadableImage
from effnet.data.folders import ImageIndex
from effnet.data.preprocess import Preprocessing
from effnet.data.rng import stream


@dataclasses.dataclass(frozen=True)
class TrainSource:
    """Training images of one epoch; the result depends on seed, epoch and index alone."""

    index: ImageIndex
    seed: int
    epoch: int
    augmentation: Augmentation
    bad_images: BadImages
    keep: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.augmentation.size_px, self.augmentation.size_px)

    def fill(self, out: NDArray[np.float32], i: int) -> tuple[int, int]:
        """Image ``i`` into ``out`` (3, S, S); (label, index) of what is there.

        An unreadable image is noted and the next one takes its place, so the index can differ.
        """
        for step in range(len(self.index)):
            used = (i + step) % len(self.index)
            rng = stream("augment", self.seed, self.epoch, i)
            choose = functools.partial(self.augmentation.box, rng)
            try:
                part = self._part(used, choose)
            except UnreadableImage as error:
                self.bad_images.add(self.index.path(used), error.message)
                continue
            self.augmentation.finish_into(out, part.image, part.box, rng)
            return int(self.index.labels[used]), used
        raise DataError(f"not one image of {self.index.root} can be read")

    def _part(self, i: int, choose: Callable[[int, int], Box]) -> Part:
        """Image ``i`` and the part of it to train on.

        Only images too small to be decoded at a reduced size are kept in memory and taken from
        there, so that what is in memory changes no pixel.
        """
        size_px = self.augmentation.size_px
        kept = self.index.decoded.get(i)
        if kept is not None and min(kept.size) < 2 * size_px:
            return Part(kept, choose(*kept.size), kept.size)
        part = decode_part(self.index.path(i), choose, size_px)
        if self.keep and min(part.original_size) < 2 * size_px:
            self.index.decoded[i] = part.image
        return part


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

    def fill(self, out: NDArray[np.float32], i: int) -> tuple[int, int]:
        """Image ``i`` into ``out``; (label, i), or (-1, i) for an unreadable one, all zero."""
        try:
            image: Image.Image | None = self.index.decoded.get(i)
            if image is None:
                image = decode(self.index.path(i))
        except UnreadableImage as error:
            self.bad_images.add(self.index.path(i), error.message)
            out[...] = 0.0
            return -1, i
        if self.keep:
            self.index.decoded[i] = image
        self.preprocessing.apply_into(out, image)
        return int(self.index.labels[i]), i


def fits(index: ImageIndex, limit_mb: int) -> bool:
    """Whether all images, decoded, take less than ``limit_mb``, judged by 32 of them."""
    some = np.linspace(0, len(index) - 1, num=min(32, len(index)), dtype=int)
    sizes = [size for size in map(header, map(index.path, some.tolist())) if size]
    pixels = sum(width * height for width, height in sizes) / max(1, len(sizes))
    # Pillow keeps 4 bytes a pixel, and an image is an object of its own.
    return bool(sizes) and (4 * pixels + 1000) * len(index) < limit_mb * 1e6
