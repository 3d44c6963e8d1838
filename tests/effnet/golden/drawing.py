"""Weights, inputs and count-sketches made from names alone: the same here and where timm runs.

NumPy only. RandomState is used because its streams are frozen for ever; Generator's are not.
Names are timm's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BATCH = 4
HEIGHT_PX, WIDTH_PX = 72, 56
"""Not square, and the maps get both odd and even sizes, where TF's padding differs."""
NUM_CLASSES = 100
BUCKETS = 128


def stream(name: str) -> np.random.RandomState:
    """Random numbers that depend on `name` only."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4").astype(np.uint32))


def tensor(name: str, shape: tuple[int, ...]) -> Array:
    """The value of one weight or batch-norm statistic, float32.

    The scales keep activations near 1 through the network, so that logits spread and no
    tensor is without effect.
    """
    draw = stream(name)
    if name.endswith("running_mean"):
        return draw.normal(0.0, 0.2, shape).astype(np.float32)
    if name.endswith("running_var"):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        if _is_norm(name) and name.endswith("weight"):
            return draw.uniform(0.6, 1.4, shape).astype(np.float32)
        return draw.normal(0.0, 0.3, shape).astype(np.float32)
    fan_in = math.prod(shape[1:])
    return draw.normal(0.0, math.sqrt(_gain(name) / fan_in), shape).astype(np.float32)


def _is_norm(name: str) -> bool:
    return name.rsplit(".", 2)[-2].startswith("bn")


def _gain(name: str) -> float:
    """Variance of a layer's output over its input's, if its taps were independent.

    Tuned so that the signal neither vanishes nor explodes in 23 blocks whose batch norms use
    drawn statistics, not their own.
    """
    if "conv_dw" in name:
        return 2.6  # inputs are after SiLU, and part of the kernel lies on padding
    if "se.conv_reduce" in name:
        return 8.0  # means vary less than what they are means of
    if _projects(name):
        return 3.0  # inputs are after SiLU and a gate near one half
    if "se.conv_expand" in name:
        return 2.0
    return 1.0


def _projects(name: str) -> bool:
    # timm calls it so where the block expands, and conv_pw where it does not: in stage 1.
    return "conv_pwl" in name or (name.startswith("blocks.0.") and "conv_pw" in name)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """A value for every name."""
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def images() -> Array:
    """The input, (BATCH, 3, HEIGHT_PX, WIDTH_PX)."""
    shape = (BATCH, 3, HEIGHT_PX, WIDTH_PX)
    return stream("images").normal(0.0, 1.0, shape).astype(np.float32)


def labels() -> NDArray[np.int32]:
    """A class for each image, (BATCH,)."""
    return stream("labels").randint(0, NUM_CLASSES, BATCH).astype(np.int32)


def sketch(name: str, value: Array) -> Array:
    """`value` itself, flat, where it is small; else BUCKETS sums of its elements with signs.

    Linear, and for any difference d the expectation of |sketch(d)|^2 is |d|^2, so distances
    between tensors can be read off their sketches to about one part in ten.
    """
    flat = np.asarray(value, np.float64).ravel()
    if flat.size <= BUCKETS:
        return flat.astype(np.float32)
    draw = stream("sketch " + name)
    bucket = draw.randint(0, BUCKETS, flat.size)
    sign = draw.randint(0, 2, flat.size) * 2.0 - 1.0
    return np.bincount(bucket, weights=sign * flat, minlength=BUCKETS).astype(np.float32)


def names_digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """SHA-256 of a network's tensor names and shapes, whatever their order."""
    listed = sorted((name, list(shape)) for name, shape in shapes.items())
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
