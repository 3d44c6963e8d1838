"""The depthwise convolution."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops


class DepthwiseConv(nn.Cell):
    """A kernel of its own for each channel: (N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s)).

    `weight` is (C, 1, k, k), whatever form computes it.
    """

    def __init__(self, channels: int, kernel: int, stride: int, padding: str) -> None:
        super().__init__()
        self.weight = Parameter(ops.zeros((channels, 1, kernel, kernel), ms.float32))
        self.conv = ops.Conv2D(
            out_channel=channels,
            kernel_size=kernel,
            mode=1,
            pad_mode="same" if padding == "same" else "pad",
            pad=0 if padding == "same" else kernel // 2,
            stride=stride,
            group=channels,
        )

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x, self.weight)
