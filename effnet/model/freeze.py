"""Parts of the network that training leaves as they are.

A frozen part computes as in evaluation: batch norm uses its moving statistics and leaves them,
stochastic depth drops nothing, and no gradient is computed for its parameters.
"""

from __future__ import annotations

from mindspore import Parameter, nn

from effnet.model.efficientnet import EfficientNet, batch_norm_buffers

HEAD = "classifier."
"""What the names of the last layer's parameters begin with: it is new for new classes."""


def freeze(net: EfficientNet, what: str) -> None:
    """Freeze `what` of the configuration key `freeze`; call it before the network's first call."""
    if what == "none":
        return
    parts: list[nn.Cell] = [net.stem, net.stem_norm]
    count = 0
    if what == "all-but-head":
        count = len(net.blocks)
        parts += [net.head, net.head_norm]
    elif what.startswith("blocks:"):
        count = int(what.partition(":")[2])
    # Not a slice: MindSpore renames the parameters of its cells.
    parts += [net.blocks[number] for number in range(count)]
    net.block_drops = (*(False for _ in range(count)), *net.block_drops[count:])
    for part in parts:
        for _, cell in part.cells_and_names():
            if isinstance(cell, nn.BatchNorm2d):
                cell.use_batch_statistics = False
        for parameter in part.get_parameters():
            parameter.requires_grad = False


def frozen_parameters(net: EfficientNet) -> list[Parameter]:
    """What no step changes: frozen weights and their statistics, in the network's order."""
    changed = {p.name for p in (*net.trainable_params(), *batch_norm_buffers(net))}
    return [p for p in net.get_parameters() if p.name not in changed]
