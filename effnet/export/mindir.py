"""A network as MindIR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

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


def load(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The file in MindSpore; raises what that raises."""
    net = nn.GraphCell(ms.load(str(path)))

    def compute(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = net(Tensor(images)).asnumpy()
        return logits

    return compute
