"""The update of all weights: each optimizer's formula, clipping, decay, rates, the average."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from effnet.config import resolve
from effnet.optim.optimizer import Optimizer, Part
from effnet.optim.pieces import Pieces
from effnet.optim.rules import FIRST_VALUES, RmsProp, Slots, rule_of
from effnet.optim.schedule import LrSchedule

GOLDEN = np.load(Path(__file__).parent / "golden" / "training.npz")
"""From torch and timm, by golden/make_training.py."""
RATES = (0.1, 0.05, 0.2, 0.01)


def drawn(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def slots(size: int, opt: str = "rmsprop", *, average: bool = False) -> Slots:
    first = {name: np.full(size, value, np.float32) for name, value in FIRST_VALUES[opt].items()}
    return Slots(drawn(size, 1), **first, average=drawn(size, 5) if average else None)


def rms_prop(size: int, threads: int = 1, *, decay: float = 1e-5) -> Optimizer:
    return Optimizer(RmsProp(0.9, 0.9, 1e-3), decay, [Part(size)], threads=threads)


# -- the sources


@pytest.mark.parametrize("limit", [0.0, 2.0])
@pytest.mark.parametrize("opt", FIRST_VALUES)
def test_an_optimizer_is_that_of_its_source(opt: str, limit: float) -> None:
    sets = [f"opt={opt}", "opt_eps=1e-6", "opt_decay=0.99", "momentum=0.9"]
    if opt == "rmsprop":
        sets[1:3] = ["opt_eps=1e-3", "opt_decay=0.9"]
    rule = rule_of(resolve("CPU", sets=sets).config)
    found = slots(40, opt)
    optimizer = Optimizer(rule, 0.02, [Part(40)], clip_norm=limit)
    for step, lr in enumerate(RATES):
        gradient = drawn(40, 10 + step) * np.float32(step + 0.1)
        # As a loss scale of 4 has it, in two pieces.
        pieces = Pieces([gradient[:7] * 4, gradient[7:] * 4])
        optimizer.update(found, pieces, lr, step=step, gradient_scale=0.25)
        want = GOLDEN[f"{opt}.clipped" if limit else opt][step]
        np.testing.assert_allclose(found.weights, want, rtol=1e-5, atol=1e-6)


def test_clipping_changes_something() -> None:
    assert np.abs(GOLDEN["sgd"] - GOLDEN["sgd.clipped"]).max() > 0.1


def test_adamw_has_torchs_defaults_unless_they_are_set() -> None:
    config = resolve("Ascend", sets=["opt=adamw"]).config
    assert (config.momentum, config.opt_decay, config.opt_eps) == (0.9, 0.999, 1e-8)
    assert resolve("Ascend", sets=["opt=adamw", "opt_eps=1e-4"]).config.opt_eps == 1e-4
    assert resolve("Ascend").config.opt_eps == 1e-3


def test_rmsprop_is_tensorflows_formula() -> None:
    size, lr = 100_001, 0.01
    found, moment, mean_square = slots(size), np.zeros(size), np.ones(size)
    expected = found.weights.astype(np.float64)
    parts = [Part(50_000), Part(size, is_decayed=False)]
    optimizer = Optimizer(RmsProp(decay=0.9, momentum=0.8, epsilon=1e-3), 0.01, parts)
    for step in range(3):
        gradient = drawn(size, 10 + step) * 4
        pieces = Pieces([gradient[:7].reshape(7, 1), gradient[7:40_000], gradient[40_000:]])
        optimizer.update(found, pieces, lr, gradient_scale=0.25)
        g = gradient.astype(np.float64) * 0.25
        g[:50_000] += 0.01 * expected[:50_000]
        mean_square = 0.9 * mean_square + 0.1 * g * g
        moment = 0.8 * moment + lr * g / np.sqrt(mean_square + 1e-3)
        expected = expected - moment
    np.testing.assert_allclose(found.weights, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.mindspore
def test_rmsprop_is_mindspores_too() -> None:
    import mindspore as ms
    from mindspore import nn

    parameter = ms.Parameter(ms.Tensor(drawn(1000, 1)), name="w")
    theirs = nn.RMSProp([parameter], 0.01, decay=0.9, momentum=0.9, epsilon=1e-3)
    found, ours = slots(1000), rms_prop(1000, decay=0.0)
    for step in range(4):
        gradient = drawn(1000, 10 + step)
        theirs((ms.Tensor(gradient),))
        ours.update(found, Pieces([gradient]), 0.01)
    # Its kernel for CPUs takes an approximate root: a few thousandths of an update off.
    moved = np.abs(found.weights - drawn(1000, 1)).max()
    assert np.abs(found.weights - parameter.asnumpy()).max() < 5e-3 * moved


def test_cosine_is_timms_and_torchs() -> None:
    warm = LrSchedule("cosine", 0.1, 0.5, 0.01, warmup_steps=5, total_steps=25)
    np.testing.assert_allclose([warm.lr(i) for i in range(25)], GOLDEN["cosine.timm"], rtol=1e-12)
    plain = LrSchedule("cosine", 0.1, 0.5, 0.01, warmup_steps=0, total_steps=20)
    np.testing.assert_allclose([plain.lr(i) for i in range(20)], GOLDEN["cosine.torch"], rtol=1e-9)
    assert plain.lr(20) == 0.01


# -- the same bits in any layout


def bits(found: Slots) -> list[bytes]:
    parts = (found.weights, found.moment, found.mean_square, found.average)
    return [part.tobytes() for part in parts if part is not None]


@pytest.mark.parametrize("shift", [1, 3, 8])
@pytest.mark.parametrize("opt", FIRST_VALUES)
def test_an_update_does_not_depend_on_alignment(opt: str, shift: int) -> None:
    size = 70_000

    def moved(values: np.ndarray) -> np.ndarray:
        room = np.empty(values.size + 64, np.float32)
        room[shift : shift + values.size] = values
        return room[shift : shift + values.size]

    results = []
    for place in (np.array, moved):
        first = slots(size, opt)
        squares = None if first.mean_square is None else place(first.mean_square)
        found = Slots(place(first.weights), place(first.moment), squares)
        rule = rule_of(resolve("CPU", sets=[f"opt={opt}"]).config)
        optimizer = Optimizer(rule, 1e-5, [Part(size)], clip_norm=0.5)
        optimizer.update(found, Pieces([place(drawn(size, 2))]), 0.01)
        results.append(bits(found))
    assert results[0] == results[1]


@pytest.mark.parametrize("opt", FIRST_VALUES)
def test_an_update_does_not_depend_on_threads_or_gradient_layout(opt: str) -> None:
    size, results = 100_003, []
    gradient, cuts = drawn(size, 2), [3, 16_384, 16_390, 70_000]
    rule = rule_of(resolve("CPU", sets=[f"opt={opt}"]).config)
    parts = [Part(60_000, lr_factor=0.1), Part(size, is_decayed=False)]
    for threads, pieces in ((1, [gradient]), (2, np.split(gradient, cuts)), (3, [gradient])):
        found = slots(size, opt, average=True)
        optimizer = Optimizer(rule, 1e-5, parts, clip_norm=1.0, threads=threads)
        for step in range(2):
            optimizer.update(found, Pieces(pieces), 0.01, step=step, average_decay=0.5 + step)
        results.append(bits(found))
    assert results[0] == results[1] == results[2]


# -- rates and the average


def test_a_part_has_its_own_learning_rate() -> None:
    parts = [Part(40_000, lr_factor=0.0), Part(50_000, lr_factor=0.25), Part(60_000)]
    found = slots(60_000)
    optimizer = Optimizer(RmsProp(0.9, 0.9, 1e-3), 0.0, parts)
    optimizer.update(found, Pieces([drawn(60_000, 2)]), 0.04)
    whole, quarter = slots(60_000), slots(60_000)
    rms_prop(60_000, decay=0.0).update(whole, Pieces([drawn(60_000, 2)]), 0.04)
    rms_prop(60_000, decay=0.0).update(quarter, Pieces([drawn(60_000, 2)]), 0.01)
    assert np.array_equal(found.weights[:40_000], drawn(60_000, 1)[:40_000])
    assert np.array_equal(found.weights[40_000:50_000], quarter.weights[40_000:50_000])
    assert np.array_equal(found.weights[50_000:], whole.weights[50_000:])


def test_the_average_moves_to_the_new_weights() -> None:
    found = slots(10, average=True)
    rms_prop(10, decay=0.0).update(found, Pieces([drawn(10, 2)]), 0.1, average_decay=0.75)
    np.testing.assert_allclose(
        found.average, 0.75 * drawn(10, 5) + 0.25 * found.weights, rtol=1e-6, atol=1e-7
    )
