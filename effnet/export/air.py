"""A network as AIR, which only MindSpore on Ascend can write."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


def write(net: nn.Cell, path: Path, size_px: tuple[int, int], batch_size: int | None) -> None:
    """Write `net` for (`batch_size` or 1, 3, height, width): AIR has no free dimensions."""
    image = Tensor(np.zeros((batch_size or 1, 3, *size_px), np.float32))
    ms.export(net, image, file_name=str(path), file_format="AIR")
