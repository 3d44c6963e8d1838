"""What a step report says about time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from effnet.data import Batch
from effnet.train import meter as meters


def batch() -> Batch:
    empty = np.zeros(0)
    return Batch(0, empty, empty, empty, empty, empty)


def test_waiting_for_batches_is_input_and_a_sinks_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def slow(items):
        for item in items:
            clock[0] += 0.5
            yield item

    meter = meters.Meter(4)
    for _ in meter.timed(slow([batch(), batch()])):
        clock[0] += 1.0
        meter.add(1.0, None)
    window = meter.pop_window()
    assert (window.input_ms, window.step_time_ms) == (500.0, 1500.0)
    for _ in meter.timed(slow(["sink"])):
        meter.add(1.0, None, 8)
    assert meter.pop_window().input_ms is None


def test_checkpoints_between_steps_are_a_part_of_the_next_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.5)
    meter = meters.Meter(4)
    meter.add(1.0, None)
    assert meter.pop_window().save_ms == 0.0
    meter.saved(30.0)
    meter.add(1.0, None, 2)
    window = meter.pop_window()
    assert (window.save_ms, window.done_s) == (15.0, 1000.5)
    meter.add(1.0, None)
    assert meter.pop_window().save_ms == 0.0
