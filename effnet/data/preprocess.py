"""What is done to an image before the network evaluates it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from effnet.data.pixels import compiled
from effnet.errors import EffnetError
from effnet.kernels.input import Target

if TYPE_CHECKING:
    from effnet.config import TrainConfig

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Channel means and deviations of pixels from 0 to 1: the reference's, and ImageNet's own.
NORMALIZATION: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Shorter side to ``resize_px``, centre crop of ``width_px × height_px``, normalise."""

    resize_px: int
    width_px: int
    height_px: int
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = NORMALIZATION["half"][0]
    std: tuple[float, ...] = NORMALIZATION["half"][1]

    @classmethod
    def from_config(cls, config: TrainConfig) -> Preprocessing:
        mean, std = NORMALIZATION[config.normalization]
        size = config.eval_image_size
        return cls(config.eval_resize, size, size, config.interpolation, mean, std)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON and ONNX metadata."""
        plain = dataclasses.asdict(self)
        return {**plain, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Back from :meth:`to_dict`; raises :class:`EffnetError` for a missing or unknown part."""
        try:
            made = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
            RESAMPLING[made.interpolation]
        except (KeyError, TypeError) as error:
            raise EffnetError(f"not a record of preprocessing: {error} in {values}") from error
        return made

    def at_size(self, width_px: int, height_px: int) -> Preprocessing:
        """The same for another size: as much around the crop, in proportion."""
        share = self.resize_px / max(self.width_px, self.height_px)
        resize_px = round(max(width_px, height_px) * share)
        return dataclasses.replace(
            self, resize_px=resize_px, width_px=width_px, height_px=height_px
        )

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) of an RGB image."""
        resized = resize_shorter(image, self.resize_px, RESAMPLING[self.interpolation])
        return np.asarray(centre_crop(resized, self.width_px, self.height_px))

    def apply(self, image: Image.Image) -> NDArray[np.float32]:
        """float32 (3, height, width) of an RGB image."""
        out = np.empty((3, self.height_px, self.width_px), dtype=np.float32)
        self.apply_into(out, image)
        return out

    def apply_into(self, out: NDArray[np.float32], image: Image.Image) -> None:
        """An RGB image into ``out`` (3, height, width)."""
        size = _shorter_resized(*image.size, self.resize_px)
        left, top = _middle(*size, self.width_px, self.height_px)
        form = compiled.form() if min(left, top) >= 0 else None
        if form is None:
            normalise_into(out, self.pixels(image), self.mean, self.std)
            return
        part = (self.width_px, self.height_px)
        whole = (0, 0, *image.size)
        target = Target(whole, size, (left, top), part, self.interpolation == "bicubic")
        form.prepare(out, image, target, (), *scale_and_shift(self.mean, self.std))


def resize_shorter(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """The shorter side becomes ``size``, the longer one is cut to a whole pixel, as torchvision."""
    target = _shorter_resized(*image.size, size)
    return image if target == image.size else image.resize(target, resample)


def _shorter_resized(width: int, height: int, size: int) -> tuple[int, int]:
    short, long = sorted((width, height))
    scaled = int(size * long / short)
    return (size, scaled) if width <= height else (scaled, size)


def centre_crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of ``image``; halves are rounded to even, as torchvision does."""
    left, top = _middle(*image.size, width, height)
    return image.crop((left, top, left + width, top + height))


def _middle(full_width: int, full_height: int, width: int, height: int) -> tuple[int, int]:
    return round((full_width - width) / 2), round((full_height - height) / 2)


def normalise_into(
    out: NDArray[np.float32],
    pixels: NDArray[np.uint8],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """(pixel / 255 − mean) / std of uint8 (H, W, 3) into float32 ``out`` (3, H, W)."""
    scale, shift = scale_and_shift(mean, std)
    np.multiply(pixels.transpose(2, 0, 1), scale[:, None, None], out=out)
    out += shift[:, None, None]


@functools.cache
def scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each channel: (pixel / 255 − mean) / std is pixel × scale + shift."""
    scale = np.array([1 / (255 * s) for s in std], dtype=np.float32)
    shift = np.array([-m / s for m, s in zip(mean, std, strict=True)], dtype=np.float32)
    return scale, shift
