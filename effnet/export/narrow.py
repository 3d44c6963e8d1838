"""Depthwise kernels without the taps that never meet a pixel.

MindSpore Lite 2.0's depthwise kernel for a free batch counts, for each column of taps, the outputs
that it reaches: the first at or after the padding to the last before the end. On a map one pixel
wide a 5x5 kernel's outer columns reach -1 of them, which it takes for 2^64 - 1, and it crashes.
They only ever meet padding there, so without them the convolution is the same.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, ops

from effnet.model.depthwise import DepthwiseConv, output_size
from effnet.model.efficientnet import EfficientNet

_KERNEL = 5
"""Of the kernels that these networks have, the one that reaches past a neighbour."""


def narrow_depthwise(net: EfficientNet, size_px: tuple[int, int]) -> None:
    """Narrow what `net` does on maps of one pixel, for images of `size_px` (height, width)."""
    height, width = (output_size(side, 2) for side in size_px)
    for block in net.blocks:
        conv = block.depthwise
        if conv.step == 1 and conv.side == _KERNEL and 1 in (height, width):
            _narrow(conv, height == 1, width == 1)
        height, width = output_size(height, conv.step), output_size(width, conv.step)


def _narrow(conv: DepthwiseConv, rows: bool, columns: bool) -> None:
    middle = slice(1, _KERNEL - 1)
    kept = conv.weight.asnumpy()[
        :, :, middle if rows else slice(None), middle if columns else slice(None)
    ]
    tall, wide = kept.shape[2:]
    conv.weight = Parameter(ms.Tensor(kept.copy()), name=conv.weight.name)
    conv.kernel_size = (tall, wide)
    conv.conv2d = ops.Conv2D(
        out_channel=conv.out_channels,
        kernel_size=(tall, wide),
        pad_mode="same" if conv.pads_as_tf else "pad",
        pad=0 if conv.pads_as_tf else (tall // 2, tall // 2, wide // 2, wide // 2),
        stride=1,
        group=conv.out_channels,
    )
