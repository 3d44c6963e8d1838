"""Which images each rank sees in each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effnet.data.rng import stream

PADDING = -1
"""Stands for no image where a last batch is filled up."""


def epoch_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """int64 permutation of 0…n−1, a function of its arguments."""
    draws = stream("order", seed, epoch).bit_generator.random_raw(n)
    return np.argsort(draws, kind="stable")


def shard(
    order: NDArray[np.int64],
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    drop_remainder: bool = True,
) -> NDArray[np.int64]:
    """(steps, batch_size) indices of one rank, with the same number of steps on every rank.

    ``order`` is cut into global batches of ``batch_size × world_size``, of which each rank takes
    its slice, so the images of a step do not depend on how many ranks share them. What is left
    over is dropped, or spread over the ranks and filled up with :data:`PADDING`.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size}")
    whole = batch_size * world_size
    steps, rest = divmod(len(order), whole)
    batches = order[: steps * whole].reshape(steps, world_size, batch_size)[:, rank]
    if drop_remainder or not rest:
        return batches
    last = np.full(batch_size, PADDING, dtype=order.dtype)
    share = np.array_split(order[steps * whole :], world_size)[rank]
    last[: len(share)] = share
    return np.concatenate([batches, last[None]])


def steps_per_epoch(n: int, batch_size: int, world_size: int = 1) -> int:
    """Whole global batches in ``n`` images."""
    return n // (batch_size * world_size)
