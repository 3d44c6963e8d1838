"""Order and shares of the images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effnet.data.rng import stream, uniform
from effnet.data.sampler import PADDING, epoch_order, shard, steps_per_epoch

sizes = st.integers(0, 400)
HELD_ORDER = [0, 1, 9, 8, 4, 5, 6, 3, 2, 7]
worlds = st.integers(1, 9)
batches = st.integers(1, 33)


@given(sizes, st.integers(0, 2**63 - 1), st.integers(0, 400))
def test_order_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(seed, epoch, n).tolist()) == list(range(n))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = epoch_order(1, 0, 1000)
    np.testing.assert_array_equal(first, epoch_order(1, 0, 1000))
    for other in (epoch_order(1, 1, 1000), epoch_order(2, 0, 1000)):
        assert (first != other).mean() > 0.99
    # Held, so that a run can be resumed with a later version of this code or of NumPy.
    assert epoch_order(1, 0, 10).tolist() == HELD_ORDER


@given(sizes, batches, worlds)
def test_training_uses_each_image_at_most_once_in_full_steps(n: int, batch: int, world: int):
    order = epoch_order(1, 0, n)
    rows = [shard(order, batch, rank, world) for rank in range(world)]
    steps = steps_per_epoch(n, batch, world)
    assert {row.shape for row in rows} == {(steps, batch)}
    taken = np.concatenate([row.ravel() for row in rows])
    assert len(taken) == len(set(taken.tolist())) == steps * batch * world


@given(sizes, batches, worlds)
def test_evaluation_uses_each_image_exactly_once(n: int, batch: int, world: int) -> None:
    rows = [shard(np.arange(n), batch, rank, world, False) for rank in range(world)]
    assert len({row.shape for row in rows}) == 1
    taken = np.concatenate([row.ravel() for row in rows])
    assert sorted(taken[taken != PADDING].tolist()) == list(range(n))


@given(st.integers(1, 400), st.integers(1, 8), st.sampled_from([1, 2, 4]))
def test_a_global_batch_has_the_same_images_for_any_number_of_ranks(n: int, batch: int, world: int):
    """So that another number of ranks can go on where these stopped."""
    order = epoch_order(3, 0, n)
    alone = shard(order, batch * world)
    together = np.concatenate([shard(order, batch, rank, world) for rank in range(world)], axis=1)
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("rank", [-1, 2])
def test_refuses_a_rank_outside_the_world(rank: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        shard(np.arange(10), 2, rank, 2)


def test_streams_differ_by_purpose_and_by_every_number() -> None:
    names = [("a", 1, 2), ("b", 1, 2), ("a", 2, 1), ("a", 1, 3), ("a", 12), ("a", 1, 2, 0)]
    draws = {float(stream(*name).random()) for name in names}
    assert len(draws) == len(names)
    assert stream("a", 1, 2).random() == stream("a", 1, 2).random()


def test_uniform_is_float32_from_0_to_below_1() -> None:
    values = uniform((1000, 50), "noise", 1, 2, 3)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(float(values.mean()) - 0.5) < 0.01
