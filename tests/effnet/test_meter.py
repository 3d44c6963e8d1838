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
