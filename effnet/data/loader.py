"""Batches: prepared ahead by threads, delivered in order."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from effnet.data.errors import BadImages, DataError
from effnet.data.folders import ImageIndex
from effnet.data.preprocess import Preprocessing
from effnet.data.rng import uniform
from effnet.data.sampler import PADDING, epoch_order, shard, steps_per_epoch
from effnet.data.source import EvalSource, TrainSource, fits

if TYPE_CHECKING:
    from effnet.config import TrainConfig

AHEAD = 2
"""Batches that are prepared before they are asked for."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of one step.

    ``images`` float32 (N, 3, S, S); ``labels`` int32 (N,), -1 where there is no image; ``noise``
    float32 (N, noise_width) in [0, 1); ``indices`` int64 (N,) into the index, -1 for padding;
    ``valid`` bool (N,), false for padding and, in evaluation, for unreadable images.
    """

    step: int
    images: np.ndarray
    labels: np.ndarray
    noise: np.ndarray
    indices: np.ndarray
    valid: np.ndarray


def train_batches(
    index: ImageIndex,
    config: TrainConfig,
    *,
    epoch: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    noise_width: int = 0,
    bad_images: BadImages | None = None,
) -> Iterator[Batch]:
    """One epoch (from 0) from ``start_step`` on; ``Batch.step`` counts within the epoch.

    Close the iterator, or run it to its end, and its threads are gone. Raises
    :class:`DataError` when there are fewer images than one global batch, and
    :class:`TooManyBadImages` past ``max_bad_images``.
    """
    source = TrainSource.from_config(index, config, bad_images)
    rows = train_rows(index, config, epoch, rank, world_size)
    first = epoch * len(rows)
    shape = (config.batch_size, noise_width)

    def noise(step: int) -> np.ndarray:
        return uniform(shape, "noise", config.seed, first + step, rank)

    return _batches(source, epoch, rows, start_step, noise, workers(config, world_size))


def train_rows(
    index: ImageIndex, config: TrainConfig, epoch: int, rank: int, world_size: int
) -> np.ndarray:
    """(steps, batch_size) image indices of one rank in one epoch."""
    if not steps_per_epoch(len(index), config.batch_size, world_size):
        raise DataError(
            f"{len(index)} images in {index.root} are fewer than one step takes:"
            f" batch_size {config.batch_size} x {world_size} ranks",
            hint="lower batch_size",
        )
    order = epoch_order(config.seed, epoch, len(index))
    return shard(order, config.batch_size, rank, world_size)


def eval_batches(
    index: ImageIndex,
    config: TrainConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    batch_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    bad_images: BadImages | None = None,
) -> Iterator[Batch]:
    """Every image exactly once over all ranks, in batches of one size and equally many a rank.

    ``noise`` is empty. Unreadable images are noted in ``bad_images`` and not ``valid``.
    """
    source = EvalSource(
        index,
        preprocessing or Preprocessing.from_config(config),
        BadImages(config.max_bad_images) if bad_images is None else bad_images,
        fits(index, config.image_cache_mb),
    )
    rows = shard(np.arange(len(index)), batch_size or config.batch_size, rank, world_size, False)
    return _batches(source, 0, rows, 0, None, workers(config, world_size))


def workers(config: TrainConfig, world_size: int = 1) -> int:
    """Threads for one rank: as configured, at most its share of the cores, at least one.

    Ranks of other nodes have their own cores, so the share counts ``LOCAL_WORLD_SIZE`` ranks
    where the launcher says it.
    """
    cores = len(os.sched_getaffinity(0))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    share = max(1, cores // max(1, local))
    return min(config.num_workers, cores) if config.num_workers else share


class _Pending:
    """A batch in the making: chunks of it are filled by the pool."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        source: TrainSource | EvalSource,
        epoch: int,
        row: np.ndarray,
        chunk: int,
    ) -> None:
        count = len(row)
        self.images = np.zeros((count, *source.shape), dtype=np.float32)
        self.labels = np.full(count, PADDING, dtype=np.int32)
        self.indices = np.full(count, PADDING, dtype=np.int64)

        def fill(start: int) -> None:
            for n in range(start, min(start + chunk, count)):
                if row[n] != PADDING:
                    self.labels[n], self.indices[n] = source.fill(
                        self.images[n], epoch, int(row[n])
                    )

        self.parts: list[Future[None]] = [
            pool.submit(fill, start) for start in range(0, count, chunk)
        ]


def _batches(source, epoch, rows, start_step, noise, threads):  # type: ignore
    chunk = max(1, min(32, -(-rows.shape[1] // threads)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="effnet-data")
    waiting: collections.deque[_Pending] = collections.deque()
    try:
        next_step = start_step
        for step in range(start_step, len(rows)):
            while next_step < len(rows) and next_step <= step + AHEAD:
                waiting.append(_Pending(pool, source, epoch, rows[next_step], chunk))
                next_step += 1
            pending = waiting.popleft()
            for part in pending.parts:
                part.result()
            drawn = noise(step) if noise else np.empty((rows.shape[1], 0), np.float32)
            yield Batch(
                step, pending.images, pending.labels, drawn, pending.indices, pending.labels >= 0
            )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
