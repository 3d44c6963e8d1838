"""Compiled preparation of an image: resize, augment, normalise in one call without the lock.

Every result has the bits of Pillow and NumPy, so it does not matter which of them prepared an
image: `effnet.data.pixels.compiled` compares them before it uses this.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from effnet.kernels import build
from effnet.kernels.build import NotBuilt

CODES = (
    "flip",
    "posterize",
    "solarize_between",
    "solarize_add",
    "invert",
    "autocontrast",
    "equalize",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "affine",
)
"""Steps, in the order of `Code` in input_cpp/prepare.cpp."""

LONGEST_PX = 8_191
"""Of a side of the result: positions have 16 bits before the point."""


@dataclass(frozen=True)
class Target:
    """An image to make: `box` of the original resized to `size`, of that the part at `at`."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    at: tuple[int, int]
    part: tuple[int, int]
    is_bicubic: bool


@dataclass(frozen=True)
class Input:
    """The loaded function.

    `chooses`: Pillow 13 resizes along columns first where an image loses far more of its height
    than of its width; earlier ones never do.
    """

    function: Callable[..., int]
    chooses: bool = True

    def prepare(
        self,
        out: NDArray[np.float32],
        image: Image.Image,
        target: Target,
        steps: Sequence[float],
        scale: NDArray[np.float32],
        shift: NDArray[np.float32],
    ) -> None:
        """`steps` are places in `CODES`, each with its numbers; `out` is (3, height, width)."""
        height, width = out.shape[1:]
        if target.part != (width, height) or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(f"an array of {out.shape} and {out.dtype} for {target}")
        address, owner = _pixels(image)
        too_wide, too_high = image.width - target.size[0], image.height - target.size[1]
        columns_first = self.chooses and too_high > 2 * max(too_wide, 0)
        geometry = (
            *target.box, target.is_bicubic, columns_first, *target.size, *target.at, *target.part,
        )  # fmt: skip
        if self.function(
            address, image.width, image.height, (ctypes.c_double * len(geometry))(*geometry),
            (ctypes.c_double * len(steps))(*steps), len(steps),
            scale.ctypes.data, shift.ctypes.data, out.ctypes.data,
        ):  # fmt: skip
            raise ValueError(f"steps that cannot be read: {list(steps)}")
        del owner


def load() -> Input:
    """Compiled if need be. Raises `NotBuilt`."""
    path = build.library(build.INPUT)
    try:
        function = ctypes.CDLL(str(path)).prepare
    except (OSError, AttributeError) as error:
        hint = "delete it, or set XDG_CACHE_HOME to a folder where programs may run"
        raise NotBuilt(f"{path} cannot be loaded: {error}", hint=hint) from error
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    function.argtypes = [
        pointer, whole, whole, pointer, pointer, whole, pointer, pointer, pointer,
    ]  # fmt: skip
    function.restype = whole
    return Input(function)


class _ArrowArray(ctypes.Structure):
    """Of the Arrow C data interface, in which Pillow shows its memory."""


_ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer_of.restype = ctypes.c_void_p


def _pixels(image: Image.Image) -> tuple[int, Any]:
    """Address of the four bytes of each pixel of an RGB image, and what keeps them there."""
    if image.mode != "RGB":
        raise ValueError(f"a {image.mode} image")
    try:
        capsule = image.__arrow_c_array__()[1]
    except (AttributeError, ValueError):
        # Before Pillow 11.2, and images of more than 16 MB, which are not in one piece.
        copy = np.zeros((image.height, image.width, 4), np.uint8)
        copy[..., :3] = np.asarray(image)
        return copy.ctypes.data, copy
    array = _ArrowArray.from_address(_pointer_of(capsule, b"arrow_array"))
    return array.children[0].contents.buffers[1], capsule
