"""metrics.bin, device.bin and the heartbeat."""

from __future__ import annotations

import math
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.run import metrics
from launcher.core.run.heartbeat import HEARTBEAT_BYTES, Phase, parse_heartbeat
from launcher.core.run.metrics import DeviceRecord
from launcher.core.run.report_types import StepReport

FLOATS = st.none() | st.floats(allow_nan=False, width=32)


def test_record_sizes_are_those_of_the_page() -> None:
    assert metrics.METRIC_BYTES == 64
    assert metrics.DEVICE_BYTES == 32
    assert metrics.LOAD_BYTES == 96


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    FLOATS,
    FLOATS,
    st.none() | st.integers(0, 2**63 - 1),
    st.integers(1, 1000),
)
def test_records_come_back(
    epoch: int, step: int, loss: float | None, wait: float | None, memory: int | None, steps: int
) -> None:
    report = StepReport(epoch, step, 5, 45, loss, wait_ms=wait, memory_bytes=memory, steps=steps)
    (record,) = metrics.unpack(metrics.pack(report, 12.5, log_offset=7))
    assert record.time_s == 12.5
    assert record.global_step == epoch * 45 + step
    assert (record.epoch, record.steps) == (epoch, steps)
    assert (record.loss, record.wait_ms) == (loss, wait)
    assert (record.memory_bytes, record.log_offset) == (memory, 7)
    assert record.images_per_s is None


@given(FLOATS, FLOATS, st.lists(FLOATS, min_size=15, max_size=15))
def test_load_samples_come_back(
    power: float | None, clock: float | None, rest: list[float | None]
) -> None:
    known = [None if value is not None and value < 0 else value for value in (power, clock, *rest)]
    record = metrics.LoadRecord(12.5, *known)
    data = metrics.pack_load(record)
    assert metrics.unpack_loads(data + data[:95]) == (record,)


def test_a_report_that_says_when_its_step_was_done_has_that_time() -> None:
    def time_of(done_s: float | None) -> float:
        report = StepReport(0, 0, done_s=done_s)
        return metrics.unpack(metrics.pack(report, 100.0))[0].time_s

    # A report from the future, or without a time, was made when it was read.
    assert [time_of(at) for at in (99.5, None, 1e9, -1.0)] == [99.5, 100.0, 100.0, 100.0]


def test_too_large_values_still_give_a_record() -> None:
    report = StepReport(2**40, 1, 1, 2**40, loss=1e300, step_time_ms=-1e300, memory_bytes=2**70)
    (record,) = metrics.unpack(metrics.pack(report, 0.0))
    assert record.loss == math.inf
    assert record.step_time_ms == -math.inf
    assert record.memory_bytes == 2**63 - 1
    assert record.log_offset is None


def test_a_loss_of_nan_is_known_and_not_finite() -> None:
    (record,) = metrics.unpack(metrics.pack(StepReport(0, 0, loss=math.nan), 0.0))
    assert record.loss == math.inf


@pytest.mark.parametrize("field", list(metrics.FIELDS))
def test_columns_are_the_records_fields(field: str) -> None:
    data = b"".join(
        metrics.pack(StepReport(i, i, 9, 9, 1.5 * i, 2.5 * i, 3.5, 4.5, 5.5, 6.5, 77, i + 1), i, 88)
        for i in range(3)
    )
    expected = [getattr(record, field) for record in metrics.unpack(data)]
    assert metrics.column(data, field) == expected
    with mock.patch.object(sys, "byteorder", "big"):
        assert metrics.column(data, field) == expected


def test_an_incomplete_record_is_ignored() -> None:
    data = metrics.pack(StepReport(0, 0), 1.0)
    assert len(metrics.unpack(data + data[:63])) == 1
    assert metrics.unpack(data[:63]) == ()
    assert metrics.column(data + b"x", "epoch") == [0]
    assert metrics.window(64 * 10 + 5, 3) == (64 * 7, 64 * 3)
    assert metrics.window(64, 3) == (0, 64)


def test_device_samples_come_back() -> None:
    samples = (DeviceRecord(1.0, 5, 9, 50.0), DeviceRecord(2.0, 6, None, None))
    data = b"".join(map(metrics.pack_device, samples))
    assert metrics.unpack_devices(data + b"half") == samples


def _beat(text: str) -> bytes:
    return text.encode().ljust(HEARTBEAT_BYTES - 1) + b"\n"


def test_a_heartbeat() -> None:
    beat = parse_heartbeat(_beat("1 1766500000.123456 compute 97 2 4242"))
    assert beat is not None
    assert (beat.phase, beat.steps_done, beat.epochs_done, beat.pid) == (Phase.COMPUTE, 97, 2, 4242)
    assert beat.time_s == 1766500000.123456


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _beat("1 1.0 compute 97 2 4242")[:-1],
        _beat("2 1.0 compute 97 2 4242"),
        _beat("1 1.0 dreaming 97 2 4242"),
        _beat("1 nan compute 97 2 4242"),
        _beat("1 1.0 compute -1 2 4242"),
        _beat("1 1.0 compute 97 2"),
        b"\xff" * 127 + b"\n",
    ],
)
def test_invalid_heartbeats(data: bytes) -> None:
    assert parse_heartbeat(data) is None
