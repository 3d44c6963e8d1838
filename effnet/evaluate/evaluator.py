"""Loss and accuracy over a folder, each image exactly once, on any number of ranks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

from effnet import device
from effnet.config import TrainConfig
from effnet.contract.report import Evaluation
from effnet.data import Batch, DataError
from effnet.distributed.group import Group
from effnet.evaluate.accuracy import places
from effnet.model.efficientnet import EfficientNet
from effnet.optim.loss import SmoothedCrossEntropy

_LOSS_UNIT = 2.0**-20
_DIGIT = 2**16


Forward = Callable[..., tuple[Tensor, Tensor]]
"""Images and labels -> logits, and the loss of each image."""


class First(Protocol):
    """What makes the compiled form at the first batch."""

    def first(
        self, make: Callable[[], tuple[nn.Cell, Forward]], inputs: Sequence[Tensor], /
    ) -> Forward: ...


class ForwardCell(nn.Cell):
    """The function is a method of the cell that holds the weights, as `First` may require."""

    def __init__(self, net: EfficientNet, config: TrainConfig) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss_of = SmoothedCrossEntropy.from_config(config, averaged=False)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        net = self.net
        logits = net(images) if net.fused_stem is None else net.evaluated(images)
        return logits, self.loss_of(logits, labels)


class Evaluator:
    """Evaluates `net` with its present weights; compiles it once if `jit`.

    `first` makes the compiled form; without it that is MindSpore.
    """

    def __init__(
        self,
        net: EfficientNet,
        config: TrainConfig,
        jit: bool = False,
        first: First | None = None,
    ) -> None:
        self._net, self._config = net, config
        self._jit, self._first = jit, first
        self._run: Forward | None = None

    def _forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self._run is None:
            first = self._first if self._jit else None
            self._run = self._made()[1] if first is None else first.first(self._made, inputs)
        return self._run(*inputs)

    def _made(self) -> tuple[nn.Cell, Forward]:
        cell = ForwardCell(self._net, self._config)
        if not self._jit:
            return cell, cell.forward
        compiled = device.compiled(ForwardCell.forward, self._config.jit_level)
        return cell, functools.partial(compiled, cell)

    def __call__(
        self,
        batches: Iterable[Batch],
        group: Group,
        progress: Callable[[int], None] | None = None,
    ) -> Evaluation:
        """Raises `EffnetError` when all images are unreadable."""
        start_s = time.perf_counter()
        totals = np.zeros(5, np.int64)
        trained = self._net.training
        self._net.set_train(False)
        try:
            for batch in batches:
                logits, losses = self._forward(
                    Tensor.from_numpy(batch.images), Tensor.from_numpy(batch.labels)
                )
                totals += count(logits.asnumpy(), losses.asnumpy(), batch)
                if progress is not None:
                    progress(int(totals[3]))
        finally:
            self._net.set_train(trained)
        loss_units, top_1, top_5, images, unreadable = sum_exactly(totals, group).tolist()
        if images == 0:
            raise DataError(
                f"all {unreadable} images are unreadable",
                hint="`python -m effnet data check DIR` lists each with its reason",
            )
        return Evaluation(
            loss=loss_units * _LOSS_UNIT / images,
            top_1_acc=top_1 / images,
            top_5_acc=top_5 / images,
            images=images,
            unreadable=unreadable,
            time_ms=(time.perf_counter() - start_s) * 1e3,
        )


def count(
    logits: NDArray[np.float32], losses: NDArray[np.float32], batch: Batch
) -> NDArray[np.int64]:
    """Loss in units of 2^-20, right at rank 1, at rank 5, images, unreadable images.

    Whole numbers add up to the same sum in any order, so the ranks' number changes nothing.
    """
    rows = batch.valid
    labels = batch.labels[rows].astype(np.int64)
    place = places(logits[rows], labels)
    units = np.rint(losses[rows].astype(np.float64) / _LOSS_UNIT).astype(np.int64)
    images = int(rows.sum())
    return np.array(
        [
            units.sum(),
            (place < 1).sum(),
            (place < 5).sum(),
            images,
            int((batch.indices >= 0).sum()) - images,
        ],
        np.int64,
    )


def sum_exactly(totals: NDArray[np.int64], group: Group) -> NDArray[np.int64]:
    """Sum of non-negative integers over the ranks by way of float32, with nothing rounded.

    A float32 holds integers up to 2^24, so each goes as four digits of 16 bits: exact for up to
    256 ranks.
    """
    if group.size == 1:
        return totals
    digits = [(totals >> (16 * place)) % _DIGIT for place in range(4)]
    summed = group.sum(np.concatenate(digits).astype(np.float32)).astype(np.int64)
    parts = summed.reshape(4, -1)
    return sum((part << (16 * place) for place, part in enumerate(parts)), np.zeros_like(totals))
