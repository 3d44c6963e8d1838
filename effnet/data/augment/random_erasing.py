"""Random erasing: a rectangle of the normalised image becomes noise (arXiv:1708.04896)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

TRIES = 10


@dataclasses.dataclass(frozen=True)
class RandomErasing:
    """As timm's ``--remode pixel``: every value of the rectangle is drawn from N(0, 1).

    The rectangle's share of the area is uniform in ``area``, its height/width uniform in its
    logarithm in ``ratio``; after ten that do not fit, the image stays as it is. Source:
    pytorch-image-models, timm/data/random_erasing.py.
    """

    probability: float
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __call__(self, array: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Changes a float32 (3, H, W) array in place."""
        if rng.random() >= self.probability:
            return
        _, height, width = array.shape
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(TRIES):
            target = (self.area[0] + (self.area[1] - self.area[0]) * rng.random()) * height * width
            aspect = math.exp(low + (high - low) * rng.random())
            h, w = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < h < height and 0 < w < width:
                top = int(rng.integers(0, height - h + 1))
                left = int(rng.integers(0, width - w + 1))
                noise = rng.standard_normal((array.shape[0], h, w), dtype=np.float32)
                array[:, top : top + h, left : left + w] = noise
                return
