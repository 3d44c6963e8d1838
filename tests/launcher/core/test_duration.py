"""The duration of a run, from what a calibration measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.history import duration
from launcher.core.run.report_types import Calibrated

SETTINGS: dict[str, Any] = {
    "epoch_size": 20,
    "interval": 1,
    "eval_start_epoch": 1,
    "batch_size": 32,
    "accumulation_steps": 2,
    "lr_max": 0.1,
    "eval_resize": 280,
}


def known(**changes: Any) -> duration.Calibration:
    made = duration.calibration_of(
        Calibrated(10, 200.0, 45, 4000.0, 500.0),
        profile="p",
        run="p-1",
        began=1000.0,
        ended=1062.0,
        nodes=("a", "b"),
        ranks=4,
        data_path="/data",
        settings=SETTINGS,
    )
    return replace(made, **changes)


def estimate(**changes: Any) -> duration.Estimate:
    return duration.estimate(known(), ("a", "b"), 4, "/data", {**SETTINGS, **changes})


def test_a_run_is_its_start_its_steps_and_its_evaluations() -> None:
    found = estimate()
    assert known().startup_s == 60
    assert known().needed_images_per_s == 320
    assert (found.epochs, found.steps, found.evaluations) == (20, 900, 20)
    assert found.duration_s == pytest.approx(60 + 900 * 0.2 + 20 * 4)
    assert found.other == ()


def test_only_what_changes_the_speed_makes_it_another_run() -> None:
    assert set(known().settings) == {"batch_size", "accumulation_steps", "eval_resize"}
    assert estimate(epoch_size=350, lr_max=1.0).other == ()
    assert estimate(batch_size=16).other == ("batch_size 32, now 16",)
    elsewhere = duration.estimate(known(), ("a",), 2, "/other", SETTINGS)
    assert elsewhere.other == ("nodes a, b, now a", "ranks 4, now 2", "data /data, now /other")


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 70))
def test_evaluations_are_those_of_the_trainer(epochs: int, interval: int, first: int) -> None:
    """`Trainer._end_epoch`, epoch by epoch."""
    count = 0
    for number in range(1, epochs + 1):
        if not interval or number < first:
            continue
        count += (number - first) % interval == 0 or number == epochs
    keys = {"epoch_size": epochs, "interval": interval, "eval_start_epoch": first}
    assert duration.evaluations(keys) == count
