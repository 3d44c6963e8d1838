"""What can be done to the pixels of an RGB image; nothing here draws random numbers.

Each is done by Pillow, or noted in a `Plan` for the compiled form, which gives the same bits.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from effnet.data.pixels.plan import Picture, Plan, can_be_planned

NEAREST = Image.Resampling.NEAREST
_RESAMPLES = (NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
"""In the order of `Resample` in input_cpp/steps.h."""


@can_be_planned
def flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@can_be_planned
def posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the highest ``bits`` of 8."""
    return image.point(_posterized(bits))


def shear_x(image: Picture, degrees: float) -> Picture:
    """Along x about the middle, by an angle; nearest pixel, black where nothing was."""
    slope = math.tan(math.radians(degrees))
    return affine(image, (1.0, slope, -slope * image.height / 2, 0.0, 1.0, 0.0))


def rotate(
    image: Picture,
    degrees: float,
    resample: Image.Resampling = NEAREST,
    fill: tuple[int, ...] = (0, 0, 0),
) -> Picture:
    """Counter-clockwise about the middle, as Pillow's ``Image.rotate``; the size stays."""
    if degrees % 360 == 0:
        return image
    angle = -math.radians(degrees % 360)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = image.width / 2, image.height / 2
    right = cosine * -x + sine * -y + 0.0 + x
    down = -sine * -x + cosine * -y + 0.0 + y
    return affine(image, (cosine, sine, right, -sine, cosine, down), resample, fill)


def affine(
    image: Picture,
    rows: tuple[float, ...],
    resample: Image.Resampling = NEAREST,
    fill: tuple[int, ...] = (0, 0, 0),
) -> Picture:
    """Pixel (x, y) comes from (ax + by + c, dx + ey + f); ``fill`` where nothing was."""
    if isinstance(image, Plan):
        red, green, blue = fill
        colour = red | green << 8 | blue << 16
        return image.then("affine", *rows, _RESAMPLES.index(resample), colour)
    return image.transform(image.size, Image.Transform.AFFINE, rows, resample, fillcolor=fill)


@can_be_planned
def autocontrast(image: Image.Image) -> Image.Image:
    """Stretch each channel's values to 0 to 255."""
    return ImageOps.autocontrast(image)


@can_be_planned
def solarize_between(image: Image.Image, low: int, high: int) -> Image.Image:
    """Invert the values from ``low`` to ``high``, both included."""
    return image.point([255 - v if low <= v <= high else v for v in range(256)] * 3)


@can_be_planned
def solarize_add(image: Image.Image, add: int) -> Image.Image:
    """Make the values below 128 lighter by ``add``."""
    return image.point([min(255, v + add) if v < 128 else v for v in range(256)] * 3)


@can_be_planned
def invert(image: Image.Image) -> Image.Image:
    return image.point(_INVERTED)


@can_be_planned
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


@can_be_planned
def brightness(image: Image.Image, factor: float) -> Image.Image:
    """0 is black, 1 the image itself."""
    return Image.blend(Image.new("RGB", image.size), image, factor)


@can_be_planned
def contrast(image: Image.Image, factor: float) -> Image.Image:
    """0 is the image's mean grey, 1 the image itself."""
    grey = image.convert("L")
    mean = int(np.asarray(grey).mean() + 0.5)
    return Image.blend(Image.new("RGB", image.size, (mean, mean, mean)), image, factor)


@can_be_planned
def saturation(image: Image.Image, factor: float) -> Image.Image:
    """0 is the grey image, 1 the image itself."""
    return ImageEnhance.Color(image).enhance(factor)


@can_be_planned
def sharpness(image: Image.Image, factor: float) -> Image.Image:
    """0 is smoothed, 1 the image itself."""
    return Image.blend(image.filter(ImageFilter.SMOOTH), image, factor)


_INVERTED = [255 - v for v in range(256)] * 3


@functools.cache
def _posterized(bits: int) -> list[int]:
    return [v & ~(2 ** (8 - bits) - 1) for v in range(256)] * 3
