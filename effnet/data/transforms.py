"""What can be done to the pixels of an RGB image; nothing here draws random numbers."""

from __future__ import annotations

import math

from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat


def flip(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the highest ``bits`` of 8."""
    return ImageOps.posterize(image, bits)


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Counter-clockwise about the middle, nearest pixel, black where nothing was."""
    return image.rotate(degrees)


def shear_x(image: Image.Image, degrees: float) -> Image.Image:
    """Along x about the middle, by an angle."""
    slope = math.tan(math.radians(degrees))
    rows = (1.0, slope, -slope * image.height / 2, 0.0, 1.0, 0.0)
    return image.transform(image.size, Image.Transform.AFFINE, rows)


def solarize_between(image: Image.Image, low: int, high: int) -> Image.Image:
    """Invert the values from ``low`` to ``high``, both included."""
    return image.point([255 - v if low <= v <= high else v for v in range(256)] * 3)


def invert(image: Image.Image) -> Image.Image:
    return ImageOps.invert(image)


def equalize(image: Image.Image) -> Image.Image:
    return ImageOps.equalize(image)


def autocontrast(image: Image.Image) -> Image.Image:
    return ImageOps.autocontrast(image)


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """0 is black, 1 the image itself."""
    return image.point([_byte(v * factor) for v in range(256)] * 3)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """0 is the image's mean grey, 1 the image itself."""
    grey = int(ImageStat.Stat(image.convert("L")).mean[0] + 0.5)
    return image.point([_byte(grey + (v - grey) * factor) for v in range(256)] * 3)


def saturation(image: Image.Image, factor: float) -> Image.Image:
    """0 is the grey image, 1 the image itself."""
    return ImageEnhance.Color(image).enhance(factor)


def sharpness(image: Image.Image, factor: float) -> Image.Image:
    """0 is smoothed, 1 the image itself."""
    return Image.blend(image.filter(ImageFilter.SMOOTH), image, factor)


def _byte(value: float) -> int:
    return min(255, max(0, int(value)))
