"""Mixup and CutMix: which images of a batch are mixed, how, and with what labels.

Image i of a batch is mixed with image N - 1 - i, as timm does. All images of a batch have the same
blend or the same rectangle. The network's side is `effnet.train.steps.loss.TrainingLoss`.

Sources: arXiv:1710.09412 (mixup), arXiv:1905.04899 (CutMix), timm/data/mixup.py of
pytorch-image-models.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from effnet.config import TrainConfig

COLUMNS = 6
"""Of each image: the share of its own pixels outside the rectangle, the share of its own label,
then the rectangle that comes from the other image: top, bottom, left, right in px."""


@dataclasses.dataclass(frozen=True)
class Mixing:
    """The alphas of mixup and CutMix; with both, each batch has one of them, chosen evenly."""

    mixup: float
    cutmix: float
    size_px: int

    @classmethod
    def from_config(cls, config: TrainConfig) -> Mixing:
        return cls(config.mixup, config.cutmix, config.image_size)

    @property
    def is_on(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def columns(self, images: int, batches: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """float32 (images * batches, COLUMNS): each batch has its own draw."""
        rows = [self.draw(rng) for _ in range(batches)]
        return np.repeat(np.array(rows, np.float32), images, axis=0)

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        """One row."""
        cuts = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        if not cuts:
            share = float(rng.beta(self.mixup, self.mixup))
            return share, share, 0, 0, 0, 0
        share = float(rng.beta(self.cutmix, self.cutmix))
        centre = rng.integers(0, self.size_px, 2).tolist()
        return cut(self.size_px, share, centre[0], centre[1])


def cut(size_px: int, share: float, row: int, column: int) -> tuple[float, ...]:
    """The row of `COLUMNS` for a rectangle around a point; `share` is the part that stays.

    The rectangle ends at the image's border, and the labels follow its real area.
    """
    side = int(size_px * math.sqrt(1 - share))

    def clipped(at: int) -> int:
        return min(max(at, 0), size_px)

    top, bottom = clipped(row - side // 2), clipped(row + (side + 1) // 2)
    left, right = clipped(column - side // 2), clipped(column + (side + 1) // 2)
    stays = 1 - (bottom - top) * (right - left) / size_px**2
    return 1.0, stays, top, bottom, left, right
