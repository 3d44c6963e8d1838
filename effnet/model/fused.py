"""A network whose training runs in a few compiled operators: `effnet.kernels.fused`."""

from __future__ import annotations

from effnet.kernels import fused
from effnet.kernels.depthwise import Kernels
from effnet.kernels.fused import Settings
from effnet.model.depthwise import use_compiled_depthwise
from effnet.model.efficientnet import EfficientNet

FUSED = "fused"


def use_fused_blocks(net: EfficientNet, kernels: Kernels) -> None:
    """Let `net` train with them: float32, on a CPU, nothing frozen; call it before the first call.

    Outside training, only depthwise convolutions are compiled.
    """
    use_compiled_depthwise(net, kernels)
    path, norm = str(kernels.path), (net.bn_eps, 1.0 - net.bn_momentum)
    net.fused_stem, net.fused_head = fused.stem(path), fused.head(path)
    net.settings = Settings(*norm, pads_as_tf=net.pads_as_tf).tensor()
    column = 0
    for index, block in enumerate(net.blocks):
        drops = block.has_skip and net.block_drops[index]
        conv = block.depthwise
        block.settings = Settings(
            *norm,
            column=column if drops else -1,
            keep=net.block_keep[index],
            has_skip=block.has_skip,
            stride=conv.step,
            pads_as_tf=net.pads_as_tf,
            expands=block.expands,
        ).tensor()
        make = fused.expanding_block if block.expands else fused.block
        block.fused = make(path, conv.step)
        column += block.has_skip
