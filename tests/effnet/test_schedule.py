"""The schedule against the reference's table, and its properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effnet.config import resolve
from effnet.optim.schedule import LrSchedule

MODES = ("linear", "steps", "poly", "reference-cosine")
EVERY = (*MODES, "exponential")


def table(schedule: LrSchedule, start: int = 0, stop: int | None = None) -> np.ndarray:
    steps = range(start, schedule.total_steps if stop is None else stop)
    return np.array([schedule.lr(step) for step in steps], np.float32)


def reference_value(mode: str, i: int, warmup: int, total: int) -> float:
    """What lr_generator.py computes for step i with 1e-4, 0.13, 1e-5."""
    first, top, end = 1e-4, 0.13, 1e-5
    if mode == "steps":
        return top * 10.0 ** -((i >= 0.3 * total) + (i >= 0.6 * total) + (i >= 0.8 * total))
    if i < warmup:
        return first + (top - first) * (i + (mode == "reference-cosine")) / warmup
    span = total - warmup
    if mode == "linear":
        return top - (top - end) * (i - warmup) / span
    if mode == "poly":
        return top * (1.0 - (i - warmup) / span) ** 2
    return top * ((total - i) / span * 0.5 * (1 + math.cos(0.94 * math.pi * i / span)) + 1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_equals_the_reference_in_every_step(mode: str) -> None:
    config = resolve("Ascend", sets=[f"lr_decay_mode={mode}", "epoch_size=11"]).config
    schedule = LrSchedule.from_config(config, steps_per_epoch=7)
    want = [reference_value(mode, i, 14, 77) for i in range(77)]
    np.testing.assert_allclose(table(schedule), np.float32(want), rtol=1e-6)


def test_readme_schedule_at_its_corners() -> None:
    schedule = LrSchedule.from_config(resolve("Ascend").config, steps_per_epoch=625)
    assert schedule.lr(0) == 1e-4
    assert schedule.lr(1250) == 0.13
    assert schedule.lr(625) == pytest.approx((1e-4 + 0.13) / 2)
    assert schedule.lr(350 * 625) == 1e-5


schedules = st.builds(
    lambda mode, init, top, end, total, share: LrSchedule(
        mode, init * top, top, end * top, int(total * share), total, 2.4, 0.97
    ),
    st.sampled_from(EVERY),
    st.floats(0, 1),
    st.floats(1e-6, 10),
    st.floats(0, 1),
    st.integers(1, 500),
    st.floats(0, 1),
)


@given(schedules, st.integers(0, 1000))
def test_rate_stays_between_zero_and_the_maximum(schedule: LrSchedule, step: int) -> None:
    assert 0 <= schedule.lr(step) <= schedule.lr_max * (1 + 2e-5)


@given(schedules, st.integers(0, 10_000))
def test_rate_stays_at_lr_end_after_the_last_step(schedule: LrSchedule, later: int) -> None:
    assert schedule.lr(schedule.total_steps + later) == schedule.lr_end


@given(schedules)
def test_rises_through_the_warm_up_and_falls_after_it(schedule: LrSchedule) -> None:
    rates = [schedule.lr(i) for i in range(schedule.total_steps)]
    warm, rest = rates[: schedule.warmup_steps], rates[schedule.warmup_steps :]
    if schedule.mode != "steps":
        assert warm == sorted(warm)
    if schedule.mode in ("linear", "poly", "exponential"):
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rest))


def test_part_of_the_table_is_a_slice_of_the_whole() -> None:
    schedule = LrSchedule("reference-cosine", 0.0, 1.0, 0.1, 5, 50)
    np.testing.assert_array_equal(table(schedule, 13, 29), table(schedule)[13:29])
    np.testing.assert_array_equal(table(schedule, 49, 52)[1:], np.float32([0.1, 0.1]))


@pytest.mark.parametrize(
    "broken", [("liner", 0, 10), ("linear", 11, 10), ("linear", -1, 10)], ids=str
)
def test_refuses_invalid_schedules(broken: tuple[str, int, int]) -> None:
    mode, warmup, total = broken
    with pytest.raises(ValueError, match=r"lr_decay_mode|warm-up"):
        LrSchedule(mode, 0.0, 1.0, 0.0, warmup, total).lr(0)
