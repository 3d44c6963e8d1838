"""The random crop of training."""

from __future__ import annotations

import math

import numpy as np

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the original."""
FloatBox = tuple[float, float, float, float]
"""The same in pixels of a decoded image, which can be smaller than the original."""


def random_crop_box(
    rng: np.random.Generator,
    width: int,
    height: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """A part of the image: its area a share in ``scale``, its width/height in ``ratio``.

    Ten tries, then the greatest centred part whose shape fits, as Inception, torchvision and
    MindSpore's RandomCropDecodeResize do. The ratio is uniform in its logarithm.
    """
    area = width * height
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target = area * (scale[0] + (scale[1] - scale[0]) * rng.random())
        aspect = math.exp(low + (high - low) * rng.random())
        w = round(math.sqrt(target * aspect))
        h = round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(rng.integers(0, width - w + 1))
            top = int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w = min(width, max(1, round(height * aspect)))
    h = min(height, max(1, round(width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
