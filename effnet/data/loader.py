"""The batches of one rank: an epoch of training, or an evaluation."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from effnet.data.augment.augmentation import Augmentation
from effnet.data.augment.mixing import Mixing
from effnet.data.errors import BadImages, DataError
from effnet.data.folders import ImageIndex
from effnet.data.prefetch import Batch, batches
from effnet.data.preprocess import Preprocessing
from effnet.data.rng import stream, uniform
from effnet.data.sampler import epoch_order, shard, steps_per_epoch
from effnet.data.source import EvalSource, TrainSource, fits

if TYPE_CHECKING:
    from effnet.config import TrainConfig

BOUND = "EFFNET_CPUS_BOUND"
"""The launcher sets this variable for a rank that it bound to its own share of the cores."""
SMALL_PX = 128
"""Measured: below it one thread prepares cached images faster than two do."""


def train_batches(
    index: ImageIndex,
    config: TrainConfig,
    *,
    epoch: int,
    start_step: int = 0,
    ranks: Sequence[int] = (0,),
    world_size: int = 1,
    noise_width: int = 0,
    bad_images: BadImages | None = None,
) -> Generator[Batch, None, None]:
    """One epoch (from 0) of one rank, from ``start_step`` on.

    A rank that carries several of ``world_size`` logical ranks has their parts of a step one after
    the other in its batch, each as that rank alone would have it.

    ``bad_images`` collects unreadable images over many epochs. The threads end when the iterator is
    closed or exhausted. Raises :class:`DataError` when there are fewer images than one step
    takes, :class:`TooManyBadImages` past ``max_bad_images``.
    """
    rows = train_rows(index, config, epoch, ranks, world_size)
    mixing = Mixing.from_config(config)
    source = TrainSource(
        index,
        config.seed,
        epoch,
        Augmentation.from_config(config),
        BadImages(config.max_bad_images) if bad_images is None else bad_images,
        fits(index, config.image_cache_mb),
    )
    first = epoch * len(rows)

    def noise(step: int) -> NDArray[np.float32]:
        return np.concatenate([noise_of(step, rank) for rank in ranks])

    def noise_of(step: int, rank: int) -> NDArray[np.float32]:
        shape = (config.images_per_step, noise_width)
        drawn = uniform(shape, "noise", config.seed, first + step, rank)
        if not mixing.is_on:
            return drawn
        rng = stream("mixing", config.seed, first + step, rank)
        columns = mixing.columns(config.batch_size, config.accumulation_steps, rng)
        return np.concatenate((drawn, columns), axis=1)

    threads = workers(config, world_size, source)
    return batches(source, rows, threads, start_step, noise)


def train_rows(
    index: ImageIndex, config: TrainConfig, epoch: int, ranks: Sequence[int], world_size: int
) -> NDArray[np.int64]:
    """(steps, images_per_step × ranks) image indices of these ranks in one epoch."""
    if not steps_per_epoch(len(index), config.images_per_step, world_size):
        count = config.accumulation_steps
        raise DataError(
            f"{len(index)} images in {index.root} are fewer than one step takes:"
            f" batch_size {config.batch_size} x {world_size} ranks"
            + (f" x {count} accumulation_steps" if count > 1 else ""),
            hint="lower batch_size",
        )
    order = epoch_order(config.seed, epoch, len(index))
    parts = [shard(order, config.images_per_step, rank, world_size) for rank in ranks]
    return np.concatenate(parts, axis=1)


def eval_batches(
    index: ImageIndex,
    config: TrainConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    bad_images: BadImages | None = None,
    only: NDArray[np.int64] | None = None,
) -> Generator[Batch, None, None]:
    """Every image exactly once over all ranks, in batches of one size and equally many a rank.

    ``only``: these images instead of all. ``noise`` is empty. Unreadable images are noted in
    ``bad_images`` and are not ``valid``.
    """
    source = EvalSource(
        index,
        Preprocessing.from_config(config),
        BadImages(config.max_bad_images) if bad_images is None else bad_images,
        fits(index, config.image_cache_mb),
    )
    every = np.arange(len(index), dtype=np.int64)
    rows = shard(
        every if only is None else only, config.batch_size, rank, world_size, drop_remainder=False
    )
    return batches(source, rows, workers(config, world_size, source))


def thread_count(wanted: int) -> int:
    """``wanted``, but at most one for each core; 0: one for each core."""
    cores = len(os.sched_getaffinity(0))
    return min(wanted, cores) if wanted else cores


def workers(config: TrainConfig, world_size: int, source: TrainSource | EvalSource) -> int:
    """Threads of one rank: num_workers, at most one a core; by default one for each of its cores.

    One for small images in memory: there the interpreter's lock is most of the work, and two
    threads are slower than one.
    """
    cores = thread_count(0)
    if config.num_workers:
        return thread_count(config.num_workers)
    if source.keep and max(source.shape) <= SMALL_PX:
        return 1
    if BOUND in os.environ:
        return cores
    # Not bound by the launcher: the ranks of this machine share all cores.
    local_ranks = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE")
    return max(1, cores // int(local_ranks or world_size))
