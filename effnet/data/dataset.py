"""The same batches as a MindSpore dataset, for graph mode with data sinking."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import mindspore.dataset as ds
import numpy as np
from numpy.typing import NDArray

from effnet.data.errors import BadImages
from effnet.data.folders import ImageIndex
from effnet.data.loader import train_batches, train_rows

if TYPE_CHECKING:
    from effnet.config import TrainConfig

COLUMNS = ["image", "label", "noise"]
RATES = "rates"
QUEUED = 2
"""Batches in MindSpore's own queue; its default of 16 is gigabytes at 260 px."""


def train_dataset(
    index: ImageIndex,
    config: TrainConfig,
    *,
    epoch: int = 0,
    start_step: int = 0,
    rates: Callable[[int], NDArray[np.float32]] | None = None,
    bad_images: BadImages | None = None,
    ranks: Sequence[int] = (0,),
    world_size: int = 1,
    noise_width: int = 0,
) -> ds.Dataset:
    """All steps from (``epoch``, ``start_step``) up to ``epoch_size``, once.

    A row is a whole batch of :func:`effnet.data.train_batches`, which takes the same arguments:
    ``image`` float32 (N, 3, S, S), ``label`` int32 (N,), ``noise`` float32 (N, ``noise_width``),
    and ``rates`` where a function of the global step is given for it. Its
    size is the number of steps that are left. Sets MindSpore's process-wide prefetch size to
    :data:`QUEUED`. Errors arrive as MindSpore's RuntimeError with our message in it.
    """
    rows = train_rows(index, config, epoch, ranks, world_size)
    share = {
        "ranks": ranks,
        "world_size": world_size,
        "noise_width": noise_width,
        "bad_images": BadImages(config.max_bad_images) if bad_images is None else bad_images,
    }
    steps = _Steps(index, config, epoch, start_step, len(rows), share, rates)
    ds.config.set_prefetch_size(QUEUED)
    columns = COLUMNS if rates is None else [*COLUMNS, RATES]
    return ds.GeneratorDataset(
        steps, columns, shuffle=False, num_parallel_workers=1, python_multiprocessing=False
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Steps:
    """What MindSpore iterates over: every epoch's batches, one after the other."""

    index: ImageIndex
    config: TrainConfig
    epoch: int
    start_step: int
    steps_per_epoch: int
    share: dict[str, Any]
    rates: Callable[[int], NDArray[np.float32]] | None

    def __len__(self) -> int:
        return (self.config.epoch_size - self.epoch) * self.steps_per_epoch - self.start_step

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for epoch in range(self.epoch, self.config.epoch_size):
            start = self.start_step if epoch == self.epoch else 0
            batches = train_batches(
                self.index, self.config, epoch=epoch, start_step=start, **self.share
            )
            with contextlib.closing(batches):
                for batch in batches:
                    columns: tuple[Any, ...] = (batch.images, batch.labels, batch.noise)
                    if self.rates is not None:
                        columns += (self.rates(epoch * self.steps_per_epoch + batch.step),)
                    yield columns
