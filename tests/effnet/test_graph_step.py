"""The step as one compiled graph, for real on a CPU: equal to the step that is not one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from effnet.distributed.group import Group
from effnet.train.state.host import StateMismatch, is_finite
from effnet.train.steps.eager import LossNotFinite
from effnet.train.steps.graph import BUCKET_BYTES, buckets
from tests.effnet.graph_runs import LR, WHOLE, Run, Taken, assert_close, batch, config, equal

pytestmark = [pytest.mark.mindspore, pytest.mark.slow, pytest.mark.usefixtures("mode_restored")]


@pytest.fixture(scope="module")
def plain() -> Taken:
    """Three steps in jit mode."""
    return Taken.by(mode="jit")


def test_the_graph_step_equals_the_jit_step(plain: Taken, in_graph: Taken) -> None:
    np.testing.assert_allclose(in_graph.losses, plain.losses, rtol=1e-4)
    assert_close(plain.last, in_graph.last)


def test_fused_blocks_are_the_same_in_each_mode(plain: Taken) -> None:
    """Moving statistics and averages too, though an operator writes the statistics by itself."""
    taken = [Taken.by(mode=mode, depthwise="fused") for mode in ("graph", "jit", "pynative")]
    for one in taken:
        np.testing.assert_allclose(one.losses, plain.losses, rtol=1e-4)
        assert_close(plain.last, one.last)
    assert equal(taken[1].last, taken[2].last)
    parts = {"depthwise": "fused", "accumulation_steps": 2, "clip_norm": 0.5, "mixup": 0.5}
    in_graph, eager = Taken.by(**parts), Taken.by(mode="jit", **parts)
    np.testing.assert_allclose(in_graph.losses, eager.losses, rtol=1e-4)
    assert_close(eager.last, in_graph.last)


@pytest.mark.parametrize(
    "given",
    [
        # An epsilon above the rounding of gradients that are zero in theory.
        {"opt": "adamw", "opt_eps": 1e-3, "freeze": "blocks:2", "backbone_lr": 0.5}
        | {"accumulation_steps": 2, "clip_norm": 0.5, "mixup": 0.5, "cutmix": 1.0},
        {"opt": "sgd", "freeze": "all-but-head", "clip_norm": 0.05},
    ],
    ids=["adamw", "sgd"],
)
def test_every_part_of_a_step_is_the_same_in_a_graph(given: dict[str, Any]) -> None:
    in_graph, plain = Taken.by(**given), Taken.by(mode="pynative", **given)
    np.testing.assert_allclose(in_graph.losses, plain.losses, rtol=1e-4)
    assert_close(plain.last, in_graph.last)
    frozen = [name for name in plain.last if name.startswith("stem")]
    assert frozen
    for name in frozen:
        assert np.array_equal(in_graph.last[name], in_graph.first[name])
    assert not np.array_equal(
        in_graph.last["classifier.weight"], in_graph.first["classifier.weight"]
    )


def test_a_rank_that_carries_three_takes_the_same_step_in_a_graph() -> None:
    group = Group(carried=(0, 1, 2), logical_size=3)
    parts = {"accumulation_steps": 2, "dynamic_loss_scale": True, "clip_norm": 0.5, "mixup": 0.5}
    in_graph = Taken.by(group, bn_momentum=0.5, **parts)
    plain = Taken.by(group, bn_momentum=0.5, mode="pynative", **parts)
    np.testing.assert_allclose(in_graph.losses, plain.losses, rtol=1e-4)
    assert_close(plain.last, in_graph.last)


def test_the_updates_themselves_are_equal_after_one_step(in_graph: Taken) -> None:
    """Before anything could grow: moment is lr times what RMSProp makes of the gradient."""
    found = []
    for run in (Run(config(mode="pynative")), in_graph.run):
        run.state.load(in_graph.first)
        run.take(0, 1)
        found.append(run.tensors())
    for name in found[0]:
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-5, atol=1e-9)


def test_the_real_b0_compiles_too() -> None:
    runs = [Run(config(mode=mode), WHOLE) for mode in ("graph", "pynative")]
    losses = [run.take(0, 1)[0] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert is_finite(runs[0].state.tensors())


def test_a_loss_scale_changes_nothing_in_float32(in_graph: Taken) -> None:
    scaled = Taken.by(loss_scale=1024.0)
    np.testing.assert_allclose(scaled.losses, in_graph.losses, rtol=1e-6)
    assert_close(in_graph.last, scaled.last)


def test_a_checkpoint_of_one_way_continues_in_the_other(plain: Taken, in_graph: Taken) -> None:
    before = Run(config(mode="pynative"))
    before.take(0, 1)
    run = in_graph.run
    run.state.load(before.tensors())
    np.testing.assert_allclose(run.take(1), plain.losses[1:], rtol=1e-4)
    assert_close(plain.last, run.tensors())

    before.state.load(in_graph.last)
    assert equal(before.tensors(), in_graph.last)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(in_graph: Taken) -> None:
    before = in_graph.run.tensors()
    with pytest.raises(StateMismatch, match=r"stem\.weight: missing"):
        in_graph.run.state.load({})
    assert equal(before, in_graph.run.tensors())


def test_the_network_has_the_average_only_within_the_block(in_graph: Taken) -> None:
    run = in_graph.run
    run.state.load(in_graph.last)
    with run.state.averaged():
        inside = run.tensors()
        assert inside["stem.weight"].tobytes() == inside["ema.stem.weight"].tobytes()
    assert equal(run.tensors(), in_graph.last)


def test_every_number_is_reduced_in_a_fixed_order(in_graph: Taken) -> None:
    run = in_graph.run
    run.state.load(in_graph.last)
    run.state.replace(lambda flat: flat * np.float32(2))
    doubled = run.tensors()
    assert all(np.array_equal(doubled[name], 2 * in_graph.last[name]) for name in doubled)


@pytest.mark.parametrize("amp_level", ["O2", "O3"])
def test_mixed_precision_is_near_to_float32(amp_level: str, in_graph: Taken) -> None:
    run = Run(config(amp_level=amp_level, loss_scale=1024.0))
    first = run.tensors()
    losses = run.take(0, 1)
    np.testing.assert_allclose(losses, in_graph.losses[:1], rtol=0.02)
    after = run.tensors()
    assert is_finite(run.state.tensors())
    assert {tensor.dtype for tensor in after.values()} == {np.dtype(np.float32)}
    for name in ("stem.weight", "head.weight", "stem_norm.moving_mean"):
        assert not np.array_equal(first[name], after[name])


def test_a_loss_that_is_not_finite_names_its_step_and_images(in_graph: Taken) -> None:
    run = in_graph.run
    run.enter()
    broken = dataclasses.replace(batch(run, 0), images=np.full((4, 3, 32, 32), np.nan, np.float32))
    with pytest.raises(LossNotFinite) as raised:
        run.step(broken, LR, 0)
    assert raised.value.own
    assert raised.value.indices.tolist() == [0, 1, 2, 3]


def test_buckets_are_large_but_not_too_large() -> None:
    assert buckets((1, 2, 3), 100) == ((0, 3),)
    assert buckets((10, 10, 10), 80) == ((0, 2), (2, 3))
    assert buckets((1, 100, 1), 80) == ((0, 1), (1, 2), (2, 3))
    sizes = (1_000_000,) * 9
    assert [last - first for first, last in buckets(sizes, BUCKET_BYTES)] == [6, 3]
