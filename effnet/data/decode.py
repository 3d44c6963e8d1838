"""From a file to an RGB image."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from effnet.data.augment.crop import Box, FloatBox
from effnet.data.errors import UnreadableImage

# What Pillow's decoders raise on broken bytes, and their warnings where those are made errors; a
# missing or forbidden file is an OSError too.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ZeroDivisionError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)
# Pillow's warnings (corrupt EXIF data, odd palettes) name no file: what matters is an error.
warnings.filterwarnings("ignore", module=r"PIL\b")

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """Raises :class:`UnreadableImage`, also for what fails in the block."""
    try:
        with Image.open(path) as image:
            yield image
    except _BROKEN as error:
        raise UnreadableImage(_reason(error)) from error


def decode(path: str) -> Image.Image:
    """The whole image as RGB, in the orientation of the stored pixels.

    The orientation in a photo's EXIF data is not applied: timm, torchvision, TF and MindSpore do
    not either, and published accuracies are measured so. Raises :class:`UnreadableImage`.
    """
    with _opened(path) as image:
        return to_rgb(image)


class Part(NamedTuple):
    """An RGB image, the wanted part of it, and the width and height of the original."""

    image: Image.Image
    box: FloatBox
    original_size: tuple[int, int]


def decode_part(path: str, choose: Callable[[int, int], Box], size_px: int) -> Part:
    """An image for the part of the original that ``choose(width, height)`` returns.

    A JPEG of which at least twice ``size_px`` is wanted each way is decoded at 1/2, 1/4 or 1/8 of
    its size: libjpeg then averages whole blocks of pixels, as resizing would have, in a fraction
    of the time. Raises :class:`UnreadableImage`.
    """
    with _opened(path) as image:
        width, height = image.size
        left, top, right, bottom = choose(width, height)
        least = (-(-width * size_px // (right - left)), -(-height * size_px // (bottom - top)))
        image.draft(None, least)
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
        return Part(to_rgb(image), box, (width, height))


def header(path: str) -> tuple[int, int] | None:
    """Width and height from the file's header, or ``None`` where it cannot be read."""
    try:
        with _opened(path) as image:
            return image.size
    except UnreadableImage:
        return None


def inspect(path: str) -> tuple[tuple[int, int], bool]:
    """Width and height of an image that can be decoded, and whether its EXIF data turns it.

    Raises :class:`UnreadableImage`.
    """
    with _opened(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        return to_rgb(image).size, turned


def to_rgb(image: Image.Image) -> Image.Image:
    """Grey, palette, CMYK, 16-bit and transparent images as 8-bit RGB; alpha is dropped."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode in _GREY_16:
        # Pillow's own conversion clips at 255, which turns 16-bit images white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"{image.mode}-mode pixels (32 bits a channel) have no known range")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error) or type(error).__name__
    return "not an image that can be read" if text.startswith("cannot identify") else text
