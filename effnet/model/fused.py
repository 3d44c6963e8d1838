"""A network that runs in a few compiled operators: `effnet.kernels.fused`."""

from __future__ import annotations

import dataclasses

from mindspore import Tensor

from effnet.kernels import fused
from effnet.kernels.depthwise import Kernels
from effnet.kernels.fused import OUTSIDE, Settings
from effnet.model.depthwise import use_compiled_depthwise
from effnet.model.efficientnet import EfficientNet

FUSED = "fused"


def use_fused_blocks(net: EfficientNet, kernels: Kernels) -> None:
    """Let `net` train and be evaluated with them: float32, on a CPU, nothing frozen.

    Call it before the first call. Other calls outside training compile depthwise convolutions only.
    """
    use_compiled_depthwise(net, kernels)
    path, norm = str(kernels.path), (net.bn_eps, 1.0 - net.bn_momentum)
    net.fused_stem, net.fused_head = fused.stem(path), fused.head(path)
    ends = Settings(*norm, pads_as_tf=net.pads_as_tf)
    net.settings, net.settings_outside = ends.tensor(), outside(ends)
    column = 0
    for index, block in enumerate(net.blocks):
        drops = block.has_skip and net.block_drops[index]
        conv = block.depthwise
        own = Settings(
            *norm,
            column=column if drops else -1,
            keep=net.block_keep[index],
            has_skip=block.has_skip,
            stride=conv.step,
            pads_as_tf=net.pads_as_tf,
            expands=block.expands,
        )
        block.settings, block.settings_outside = own.tensor(), outside(own)
        make = fused.expanding_block if block.expands else fused.block
        block.fused = make(path, conv.step)
        column += block.has_skip


def outside(settings: Settings) -> Tensor:
    """The same outside training."""
    return dataclasses.replace(settings, share=OUTSIDE, column=-1).tensor()
