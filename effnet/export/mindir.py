"""A network as MindIR or AIR, the formats of MindSpore itself."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

from effnet.export.compare import Compute
from effnet.export.mindir_v1 import rewrite
from effnet.export.narrow import narrow_depthwise
from effnet.model.efficientnet import EfficientNet


def write(net: EfficientNet, path: Path, size_px: tuple[int, int], batch_size: int | None) -> None:
    """Write `net` for (`batch_size` or any, 3, height, width); see `onnx_file.write`.

    MindSpore 2.10 and MindSpore Lite 2.0 read the file. Raises `UnknownOperator`.
    """
    narrow_depthwise(net, size_px)
    image = Tensor(shape=[batch_size, 3, *size_px], dtype=ms.float32)
    ms.export(net, image, file_name=str(path), file_format="MINDIR", custom_func=rewrite)


def write_air(net: nn.Cell, path: Path, size_px: tuple[int, int], batch_size: int | None) -> None:
    """Write `net` for (`batch_size` or 1, 3, height, width): AIR has no free dimensions.

    Only MindSpore on Ascend can do it.
    """
    image = Tensor(np.zeros((batch_size or 1, 3, *size_px), np.float32))
    ms.export(net, image, file_name=str(path), file_format="AIR")


def load(path: Path) -> Compute:
    """The file in MindSpore; raises what that raises."""
    return computed_by(nn.GraphCell(ms.load(str(path))))


def computed_by(net: nn.Cell) -> Compute:
    def compute(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = net(Tensor(images)).asnumpy()
        return logits

    return compute
