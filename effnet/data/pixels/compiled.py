"""The compiled preparation of images, where it can be had and gives the bits of Pillow."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterable, Iterator

import numpy as np
import PIL
from PIL import Image

from effnet.data.pixels import transforms
from effnet.data.pixels.plan import Picture, Plan
from effnet.kernels.build import NotBuilt
from effnet.kernels.input import Input, Target, load

_LOADING = threading.Lock()


def form() -> Input | None:
    """`None` where Pillow has to prepare images: `reason` says why."""
    return _found()[0]


def reason() -> str | None:
    """Why Pillow prepares images, and what to do about it; `None` where it does not."""
    return _found()[1]


def notes(said: Iterable[str] = ()) -> tuple[str, ...]:
    """For the user: what would make it faster, unless ``said`` has the same reason."""
    why = reason()
    if why is None or any(why in note for note in said):
        return ()
    return (f"compiled code would prepare images faster, but {why}",)


def _found() -> tuple[Input | None, str | None]:
    # Threads that ask first at once would compare it twice.
    with _LOADING:
        return _loaded()


@functools.cache
def _loaded() -> tuple[Input | None, str | None]:
    try:
        found = load()
    except NotBuilt as error:
        return None, f"{error.message}: {error.hint}" if error.hint else error.message
    texts: list[str] = []
    for form in (found, dataclasses.replace(found, chooses=False)):
        texts.append(", ".join(dict.fromkeys(differences(form))))
        if not texts[-1]:
            return form, None
    return None, f"Pillow {PIL.__version__} computes otherwise: {min(texts, key=len)}"


_SIZES = (
    ((37, 29), (2.5, 1.0, 36.0, 27.75), (23, 19)),
    # Just not high enough for columns first, just enough, and far more.
    ((25, 30), (0, 0, 25, 30), (20, 20)),
    ((25, 31), (0, 0, 25, 31), (20, 20)),
    ((9, 50), (1, 0, 9, 47.5), (8, 9)),
)
"""Of an image, the part of it that is used, and the size that this becomes."""


def differences(form: Input) -> Iterator[str]:
    """The steps that Pillow does otherwise, tried on noise: another version of it may round so."""
    draw = np.random.RandomState(1)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    for whole, box, size in _SIZES:
        image = Image.fromarray(draw.randint(0, 256, (*whole[::-1], 3)).astype(np.uint8))
        got = np.empty((3, *size[::-1]), np.float32)
        for resample in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
            target = Target(box, size, (0, 0), size, resample == Image.Resampling.BICUBIC)
            small = image.resize(size, resample, box=box)
            steps = zip(_NAMES, tried(Plan(*size)), tried(small), strict=True)
            for name, planned, done in steps:
                assert isinstance(planned, Plan)
                form.prepare(got, image, target, planned.numbers, one, zero)
                if not np.array_equal(got, np.asarray(done).transpose(2, 0, 1)):
                    yield name
                planned.numbers.clear()


_NAMES = (
    "resize", "flip", "posterize", "solarize", "solarize_add", "invert", "autocontrast", "equalize",
    "brightness", "contrast", "colour", "colour", "sharpness", "sharpness", "shear", "rotate",
    "rotate", "rotate", "translate",
)  # fmt: skip


def tried(picture: Picture) -> Iterator[Picture]:
    """After each of the steps, in the order of `_NAMES`."""
    grey = (128, 128, 128)
    bilinear, bicubic = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
    yield picture
    yield transforms.flip(picture)
    yield transforms.posterize(picture, 3)
    yield transforms.solarize_between(picture, 40, 99)
    yield transforms.solarize_add(picture, 70)
    yield transforms.invert(picture)
    yield transforms.autocontrast(picture)
    yield transforms.equalize(picture)
    yield transforms.brightness(picture, 1.3)
    yield transforms.contrast(picture, 1.3)
    yield transforms.saturation(picture, 0.7)
    yield transforms.saturation(picture, 1.7)
    yield transforms.sharpness(picture, 0.7)
    yield transforms.sharpness(picture, 1.7)
    yield transforms.shear_x(picture, 7.0)
    yield transforms.rotate(picture, 27.0)
    yield transforms.rotate(picture, 27.0, bilinear, grey)
    yield transforms.rotate(picture, -27.0, bicubic, grey)
    yield transforms.affine(picture, (1, 0, 4.3, 0, 1, 0), bilinear, grey)
