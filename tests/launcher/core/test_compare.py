"""Comparisons: which settings differ, how speeds differ, and what makes the difference."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnosis.goodput import Goodput
from launcher.core.history.compare import PARTS, Speed, compared, differences, rows
from launcher.core.history.config import Setting


def words(*speeds: Speed, settings: tuple[dict[str, Setting], ...] = ()) -> str:
    return "\n".join(compared([], settings, speeds).words)


def speed(images_per_s: float | None = 64.0, **values: Any) -> Speed:
    known = {"step_ms": 1000.0, "busy_ms": 900.0, "wait_ms": 100.0, "images_per_step": 64}
    return Speed(
        **{"goodput": Goodput(compute_s=100.0), **known, **values}, images_per_s=images_per_s
    )


def test_only_keys_that_differ_are_listed_with_their_sources() -> None:
    a = {"lr": Setting(0.1, "default"), "same": Setting(1, "default"), "n": Setting(2, "--set")}
    b = {"lr": Setting(0.2, "--set"), "same": Setting(1.0, "profile p"), "n": Setting(2, "default")}
    b["new"] = Setting("x", "default")
    b["set"] = Setting("x", "profile p")
    found = {item.key: item.settings for item in differences([a, b])}
    assert found == {
        "lr": (Setting(0.1, "default"), Setting(0.2, "--set")),
        "set": (None, Setting("x", "profile p")),
    }
    assert differences([{"k": Setting(True, "--set")}, {"k": Setting(1, "--set")}])
    assert differences([{}, {}]) == ()


def test_a_slower_run_is_slower_by_its_work_or_its_waits() -> None:
    a, b = speed(), speed(32.0, step_ms=2000.0, busy_ms=1000.0, wait_ms=1000.0)
    text = words(a, b)
    assert "B is 2 times as slow as A: 32.0 images/s, A 64.0" in text
    assert "1000 ms longer: 100 ms more own work and input, 900 ms more waiting for peers" in text
    assert "B is 2 times as fast as A" in words(b, a)
    assert "B is as fast as A" in words(a, speed(65.0))
    bigger = speed(128.0, images_per_step=128)
    assert "a step of B has 128 images, A 64" in words(a, bigger)


def test_parts_of_the_time_are_named_where_their_shares_differ() -> None:
    a = speed(goodput=Goodput(compute_s=90.0, evaluation_s=10.0))
    b = speed(goodput=Goodput(compute_s=60.0, evaluation_s=40.0), failures=("x", "rank 1: OOM"))
    text = words(a, b)
    assert "evaluations: 40 s (40 %) of B, 10 s (10 %) of A" in text
    assert "B failed 2 times: rank 1: OOM" in text
    assert "compute" not in text


def test_settings_that_change_the_speed_are_named_when_it_differs() -> None:
    settings = tuple(
        {"batch_size": Setting(size, "--set"), "seed": Setting(size, "--set")} for size in (1, 2)
    )
    named = "settings that differ and change the speed: batch_size"
    assert named in words(speed(), speed(32.0), settings=settings)
    assert "settings" not in words(speed(), speed(), settings=settings)


_maybe = st.none() | st.floats(0, 1e6) | st.sampled_from([float("nan"), float("inf"), 0.0])


@given(st.lists(st.tuples(_maybe, _maybe, _maybe, _maybe), min_size=2, max_size=5))
def test_unknown_and_odd_figures_never_raise(figures: list[tuple[Any, ...]]) -> None:
    speeds = [
        Speed(Goodput(compute_s=one or 0.0), one, step, busy, wait)
        for one, step, busy, wait in figures
    ]
    compared([], [{} for _ in speeds], speeds)
    table = rows(speeds)
    assert {len(texts) for _, texts in table} == {len(speeds)}
    assert {f"· {title}" for title in PARTS.values()} <= {title for title, _ in table}
