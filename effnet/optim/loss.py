"""Cross entropy against smoothed labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops

if TYPE_CHECKING:
    from effnet.config import TrainConfig


def targets(smoothing: float, num_classes: int, mode: str = "reference") -> tuple[float, float]:
    """Target of the right class and of each other one; they sum to 1.

    ``reference``: 1 − ε and ε / (C − 1), as its src/loss.py. ``uniform``: ε is spread over all C
    classes, as TF and timm.
    """
    if mode == "uniform":
        off = smoothing / num_classes
        return 1.0 - smoothing + off, off
    if mode != "reference":
        raise ValueError(f"label_smooth_mode {mode!r} is neither reference nor uniform")
    return 1.0 - smoothing, smoothing / max(1, num_classes - 1)


class SmoothedCrossEntropy(nn.Cell):
    """float32 loss of logits (N, C) of any float type and int32 labels (N,).

    Rows labelled -1 count for nothing: their loss is 0 and the mean is over the others.
    ``averaged``: the mean, a scalar; else the loss of each row, (N,). With ``others``, int32 (N,),
    the target is ``share``, float32 (N, 1), of the label's and the rest of the other's.
    """

    def __init__(
        self,
        num_classes: int,
        smoothing: float = 0.0,
        mode: str = "reference",
        averaged: bool = True,
    ) -> None:
        super().__init__()
        on, off = targets(smoothing, num_classes, mode)
        self.depth = num_classes
        self.on = Tensor(on, ms.float32)
        self.off = Tensor(off, ms.float32)
        self.averaged = averaged
        self.cross_entropy = nn.SoftmaxCrossEntropyWithLogits(reduction="none")

    @classmethod
    def from_config(cls, config: TrainConfig, averaged: bool = True) -> SmoothedCrossEntropy:
        return cls(config.class_num, config.smoothing, config.label_smooth_mode, averaged)

    def construct(
        self,
        logits: Tensor,
        labels: Tensor,
        others: Tensor | None = None,
        share: Tensor | None = None,
    ) -> Tensor:
        valid = ops.cast(labels >= 0, ms.float32)
        target = ops.one_hot(ops.maximum(labels, 0), self.depth, self.on, self.off)
        if others is not None and share is not None:
            other = ops.one_hot(others, self.depth, self.on, self.off)
            target = target * share + other * (1 - share)
        losses = self.cross_entropy(ops.cast(logits, ms.float32), target) * valid
        if not self.averaged:
            return losses
        return ops.sum(losses) / ops.maximum(ops.sum(valid), 1.0)
