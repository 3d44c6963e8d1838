"""What can be done to the pixels of an RGB image; nothing here draws random numbers."""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the highest ``bits`` of 8."""
    return image.point(_posterized(bits))


def shear_x(image: Image.Image, degrees: float) -> Image.Image:
    """Along x about the middle, by an angle; nearest pixel, black where nothing was."""
    slope = math.tan(math.radians(degrees))
    rows = (1.0, slope, -slope * image.height / 2, 0.0, 1.0, 0.0)
    return image.transform(image.size, Image.Transform.AFFINE, rows)


def solarize_between(image: Image.Image, low: int, high: int) -> Image.Image:
    """Invert the values from ``low`` to ``high``, both included."""
    return image.point([255 - v if low <= v <= high else v for v in range(256)] * 3)


def solarize_add(image: Image.Image, add: int) -> Image.Image:
    """Make the values below 128 lighter by ``add``."""
    return image.point([min(255, v + add) if v < 128 else v for v in range(256)] * 3)


def invert(image: Image.Image) -> Image.Image:
    return image.point(_INVERTED)


def equalize(image: Image.Image) -> Image.Image:
    """Spread each channel's values evenly, as Pillow's ``ImageOps.equalize``.

    NumPy makes its tables, since its Python loops take longer than a small image does.
    """
    counts = np.array(image.histogram()).reshape(3, 256)
    last = counts[np.arange(3), 255 - (counts[:, ::-1] > 0).argmax(axis=1)]
    steps = ((counts.sum(axis=1) - last) // 255)[:, None]
    before = np.cumsum(counts, axis=1) - counts
    tables = (steps // 2 + before) // np.maximum(steps, 1)
    tables = np.where(steps > 0, tables, np.arange(256))
    return image.point(np.minimum(tables, 255).ravel().tolist())


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """0 is black, 1 the image itself."""
    return Image.blend(Image.new("RGB", image.size), image, factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """0 is the image's mean grey, 1 the image itself."""
    grey = image.convert("L")
    mean = int(np.asarray(grey).mean() + 0.5)
    return Image.blend(Image.new("RGB", image.size, (mean, mean, mean)), image, factor)


def saturation(image: Image.Image, factor: float) -> Image.Image:
    """0 is the grey image, 1 the image itself."""
    return ImageEnhance.Color(image).enhance(factor)


def sharpness(image: Image.Image, factor: float) -> Image.Image:
    """0 is smoothed, 1 the image itself."""
    return Image.blend(image.filter(ImageFilter.SMOOTH), image, factor)


_INVERTED = [255 - v for v in range(256)] * 3


@functools.cache
def _posterized(bits: int) -> list[int]:
    return [v & ~(2 ** (8 - bits) - 1) for v in range(256)] * 3
