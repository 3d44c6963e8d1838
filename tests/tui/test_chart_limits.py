"""Few values far from all others do not flatten a chart; they are marked at its edge."""

from __future__ import annotations

import math

import pytest
from fake_source import FakeRun, FakeSource
from hypothesis import given
from hypothesis import strategies as st
from pilots import sees, showing, text_of

from launcher.client import Series
from tui.charts.curves import ChartMaker
from tui.charts.limits import limits_of
from tui.model.run import ChartData, ChartRequest, Curve

USUAL = st.lists(st.floats(500, 700), min_size=4, max_size=200)


def columns(values: list[float]) -> tuple[tuple[float, float] | None, ...]:
    return tuple((value, value) for value in values)


@given(USUAL, st.floats(4_000, 1e7), st.integers(0, 200))
def test_one_outlier_never_flattens_the_rest(values: list[float], far: float, at: int) -> None:
    place = min(at, len(values))
    limits = limits_of([columns([*values[:place], far, *values[place:]])])
    assert limits is not None
    assert limits.high <= 710
    assert limits.above == ((place, far),)


@given(USUAL, st.floats(-1e7, -4_000))
def test_an_outlier_below_is_one_too(values: list[float], far: float) -> None:
    limits = limits_of([columns([*values, far])])
    assert limits is not None
    assert limits.low >= 490
    assert limits.below == ((len(values), far),)


def test_a_step_that_is_slow_for_all_ranks_is_one_outlier() -> None:
    slow = [[560.0 + rank, 242_000.0 + rank, *[560.0 + rank] * 8] for rank in range(8)]
    limits = limits_of([columns(values) for values in slow])
    assert limits is not None
    assert limits.high < 600
    assert limits.above == ((1, 242_007.0),)


@given(st.floats(2, 60), st.integers(4, 300))
def test_a_curve_that_falls_smoothly_is_shown_whole(length: float, count: int) -> None:
    values = [1 + 6 * math.exp(-at / length) for at in range(count)]
    limits = limits_of([columns(values)])
    assert limits is not None
    assert limits.above == ()
    assert limits.high >= max(values)
    assert limits.low <= min(values)


def test_a_level_that_lasts_is_no_outlier() -> None:
    limits = limits_of([columns([100.0] * 40 + [900.0] * 10)])
    assert limits is not None
    assert limits.above == ()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_an_outlier_is_marked_with_its_value(size: tuple[int, int]) -> None:
    run = FakeRun(2)
    plain = run._chart

    def chart(request: ChartRequest) -> ChartData:
        if request.field != "step_time_ms":
            return plain(request)
        values = [560.0 + at % 7 for at in range(request.columns)]
        values[len(values) // 2] = 242_000.0
        curves = tuple(Curve(f"r{n}", columns(values), values[-1], rank=n) for n in range(2))
        return ChartData(request.field, 0, 100, 100, curves)

    run._chart = chart  # type: ignore[method-assign]
    async with showing(FakeSource(run), size) as pilot:
        await sees(pilot, "loss")
        await pilot.press("c")
        await sees(pilot, "▲242.0 s")
        shown = text_of(pilot, "#chart-0").splitlines()
        assert shown[1].split("│")[0].strip() == "566 ms"


def test_a_loss_that_is_not_finite_is_marked() -> None:
    values = [2.0, 1.5, math.inf, math.inf, 1.2]

    def series(rank: int, field: str) -> Series:
        return Series(rank, field, range(5), values, [float(at) for at in range(5)])

    maker = ChartMaker(series)
    chart = maker.chart(ChartRequest("loss", 8, mean_only=True), FakeRun(1).snapshot(), ())
    assert chart.marks == ((0.5, "not finite"), (0.75, "not finite"))
    limits = limits_of([curve.columns for curve in chart.curves])
    assert limits is not None
    assert limits.high == 2.0
