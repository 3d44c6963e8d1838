"""The binary records of a rank: step reports and samples (docs/reference/metrics.md)."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, NamedTuple

from launcher.core.run.report_types import StepReport

_CODES = "dqiiffffffqq"
METRIC = struct.Struct(f"<{_CODES}")
DEVICE = struct.Struct("<dqqf4x")
LOAD = struct.Struct("<d17f20x")
METRIC_BYTES = METRIC.size
DEVICE_BYTES = DEVICE.size
LOAD_BYTES = LOAD.size

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1
_F32_MAX = 3.4028234663852886e38
_NAN = math.nan


@dataclass(frozen=True)
class MetricRecord:
    """One step report of one rank; ``None`` is not known."""

    time_s: float
    global_step: int
    epoch: int
    steps: int
    loss: float | None
    mean_loss: float | None
    step_time_ms: float | None
    wait_ms: float | None
    images_per_s: float | None
    learning_rate: float | None
    memory_bytes: int | None
    log_offset: int | None


class StepTimes(NamedTuple):
    """Some fields of a ``MetricRecord``."""

    time_s: float
    global_step: int
    epoch: int
    steps: int
    step_time_ms: float | None
    wait_ms: float | None


@dataclass(frozen=True)
class DeviceRecord:
    """One sample of a device's memory and use; ``None`` is not known."""

    time_s: float
    used_bytes: int
    limit_bytes: int | None
    use_percent: float | None


@dataclass(frozen=True)
class LoadRecord:
    """One sample of a device and of the rank's process; ``None`` is not known.

    ``cpu_percent`` is of one core, so that two busy threads are 200. Other percentages of time are
    of the time since the sample before. ``input_ms`` and ``save_ms`` are a step's, as the mean over
    the reports since then. A pressure is that of the rank's cgroup, else the machine's.
    """

    time_s: float
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    cpu_percent: float | None = None
    io_wait_percent: float | None = None
    """CPU time of the node that waits for disks."""
    input_ms: float | None = None
    save_ms: float | None = None
    core_wait_percent: float | None = None
    """Its threads could run and had no core: the sum over all threads."""
    blocked_percent: float | None = None
    """How often one of its threads was found in uninterruptible sleep: it waits for a disk."""
    throttled_percent: float | None = None
    """Its cgroup had used up its CPU quota."""
    limit_hits_s: float | None = None
    """How often per second its cgroup met its memory limit."""
    major_faults_s: float | None = None
    memory_pressure_percent: float | None = None
    io_pressure_percent: float | None = None
    disk_busy_percent: float | None = None
    """The busiest disk of the node."""
    retransmits_s: float | None = None
    """TCP segments that the node sent again, per second."""
    network_errors_s: float | None = None
    """Errors and dropped packets of the node's network interfaces, per second."""


class Field(NamedTuple):
    """Where a field is in the record: its struct code and its offset in bytes."""

    code: str
    offset: int

    @property
    def is_int(self) -> bool:
        return self.code in "qi"


FIELDS: Mapping[str, Field] = {
    item.name: Field(_CODES[index], struct.calcsize(f"<{_CODES[:index]}"))
    for index, item in enumerate(fields(MetricRecord))
}
"""The fields of a record of ``metrics.bin``."""


def _f32(value: float | None) -> float:
    if value is None:
        return _NAN
    # struct refuses finite doubles beyond float32.
    if abs(value) > _F32_MAX and math.isfinite(value):
        return math.copysign(math.inf, value)
    return value


def _i64(value: int | None) -> int:
    return -1 if value is None else min(max(value, -1), _INT64_MAX)


def _known(value: float) -> Any:
    """`None` where the stored value stands for "not known"."""
    return None if value != value or (isinstance(value, int) and value < 0) else value


def pack(report: StepReport, time_s: float, log_offset: int | None = None) -> bytes:
    """The 64 bytes of a step report; a report without a global step takes its step for it.

    ``time_s`` is when the report was read; where it says when its step was done, that counts.

    A loss of NaN is a fact about the training, and so it is stored as infinity: in the record NaN
    means "not known".
    """
    step = report.global_step
    if report.done_s is not None and 0 < report.done_s <= time_s:
        time_s = report.done_s
    loss = report.loss
    if loss is not None and math.isnan(loss):
        loss = math.inf
    return METRIC.pack(
        time_s,
        _i64(report.step if step is None else step),
        min(report.epoch, _INT32_MAX),
        min(report.steps, _INT32_MAX),
        _f32(loss),
        _f32(report.mean_loss),
        _f32(report.step_time_ms),
        _f32(report.wait_ms),
        _f32(report.images_per_s),
        _f32(report.learning_rate),
        _i64(report.memory_bytes),
        _i64(log_offset),
    )


def pack_device(record: DeviceRecord) -> bytes:
    """The 32 bytes of a device sample."""
    return DEVICE.pack(
        record.time_s,
        _i64(record.used_bytes),
        _i64(record.limit_bytes),
        _f32(record.use_percent),
    )


def pack_load(record: LoadRecord) -> bytes:
    """The 96 bytes of a load sample."""
    return LOAD.pack(*(_f32(value) if at else value for at, value in enumerate(astuple(record))))


def whole_bytes(size_bytes: int, record_bytes: int = METRIC_BYTES) -> int:
    """How much of a file of this size is whole records."""
    return size_bytes - size_bytes % record_bytes


def unpack(data: bytes) -> tuple[MetricRecord, ...]:
    """All whole records in ``data``; a part of a record at its end is ignored."""
    return tuple(MetricRecord(*row[:4], *map(_known, row[4:])) for row in _rows(METRIC, data))


def step_times(data: bytes) -> list[StepTimes]:
    """What the time of a run is computed from; four times as fast as whole records."""
    names = ("time_s", "global_step", "epoch", "steps")
    columns: list[Sequence[Any]] = [column(data, name) for name in names]
    columns += [
        [None if v != v else v for v in column(data, name)] for name in ("step_time_ms", "wait_ms")
    ]
    return list(map(StepTimes._make, zip(*columns, strict=True)))


def unpack_devices(data: bytes) -> tuple[DeviceRecord, ...]:
    """All whole device samples in ``data``."""
    return tuple(DeviceRecord(*row[:2], *map(_known, row[2:])) for row in _rows(DEVICE, data))


def unpack_loads(data: bytes) -> tuple[LoadRecord, ...]:
    """All whole load samples in ``data``."""
    return tuple(LoadRecord(row[0], *map(_known, row[1:])) for row in _rows(LOAD, data))


def column(data: bytes, field: str) -> Sequence[float]:
    """One field of all whole records, as it is stored: NaN and -1 are not known."""
    code, offset = FIELDS[field]
    whole = memoryview(data)[: whole_bytes(len(data))]
    if sys.byteorder == "little":
        # Ten times as fast as record by record; native sizes are the record's on every Python.
        size = struct.calcsize(code)
        return whole.cast("B").cast(code)[offset // size :: METRIC_BYTES // size].tolist()  # type: ignore[call-overload, no-any-return]
    after = METRIC_BYTES - offset - struct.calcsize(code)
    layout = struct.Struct(f"<{offset}x{code}{after}x")
    return [value for (value,) in layout.iter_unpack(whole)]


def window(size_bytes: int, records: int, record_bytes: int = METRIC_BYTES) -> tuple[int, int]:
    """Offset and length, in bytes, of the last ``records`` whole records of a file."""
    end = whole_bytes(size_bytes, record_bytes)
    start = max(0, end - records * record_bytes)
    return start, end - start


def _rows(layout: struct.Struct, data: bytes) -> Iterable[tuple[Any, ...]]:
    return layout.iter_unpack(memoryview(data)[: whole_bytes(len(data), layout.size)])
