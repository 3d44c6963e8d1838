"""Series for charts; each poll reads only what is new."""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

from launcher.core.run import metrics
from launcher.core.run.metrics import DEVICE_BYTES, FIELDS, LOAD_BYTES, METRIC_BYTES
from launcher.core.run.paths import RankPaths, RunPaths
from launcher.errors import UsageError
from launcher.reading.growing import GrowingFile
from launcher.reading.snapshot import Series

DERIVED = ("busy_ms",)
OF_DEVICE = ("device_use_percent",)
OF_LOAD = tuple(field.name for field in fields(metrics.LoadRecord) if field.name != "time_s")
SERIES_FIELDS = (
    *(name for name in FIELDS if name != "global_step"),
    *DERIVED,
    *OF_DEVICE,
    *OF_LOAD,
)
"""What can be charted: the fields of ``metrics.bin``, ``busy_ms`` (step time − wait), and samples
of the device and the process."""

_TOGETHER = ("loss", "step_time_ms", "busy_ms", "images_per_s", "learning_rate", "memory_bytes")
"""A chart of one of these is soon followed by the others: they are read together."""


class _Axis:
    """Steps and times, shared by several fields."""

    def __init__(self) -> None:
        self.steps = Column("q")
        self.times = Column("d")

    @property
    def last(self) -> int:
        return self.steps.view[-1] if len(self.steps) else -1

    def extend(self, steps: Sequence[float], times: Sequence[float]) -> None:
        self.steps.extend(steps)
        self.times.extend(times)

    def cut(self, step: int) -> int:
        """Keeps what is before `step`; -> how many points that is."""
        keep = bisect_left(self.steps.view, step)
        self.steps.cut(keep)
        self.times.cut(keep)
        return keep

    def copy(self, length: int) -> _Axis:
        axis = _Axis()
        axis.steps.extend(self.steps.view[:length])
        axis.times.extend(self.times.view[:length])
        return axis


class _Line:
    """The known values of one field, on the common axis as long as every value is known."""

    def __init__(self, rank: int, field: str, axis: _Axis) -> None:
        self._rank, self._field = rank, field
        self._axis = self._common = axis
        is_stored = field in FIELDS
        self._is_int = is_stored and FIELDS[field].is_int
        self._values = Column(FIELDS[field].code if is_stored else "f")
        self.series = Series(rank, field)

    def extend(
        self, steps: Sequence[float], times: Sequence[float], values: Sequence[float]
    ) -> None:
        """Appends points that the common axis already has."""
        if self._axis is self._common:
            if self._are_known(values):
                self._values.extend(values)
                return
            self._axis = self._common.copy(len(self._values))
        known = [at for at, value in enumerate(values) if self._are_known((value,))]
        self._axis.extend([steps[at] for at in known], [times[at] for at in known])
        self._values.extend([values[at] for at in known])

    def cut(self, step: int, kept: int) -> None:
        """Keeps what is before `step`; of the common axis that is `kept` points."""
        self._values.cut(kept if self._axis is self._common else self._axis.cut(step))

    def publish(self) -> None:
        self.series = Series(
            self._rank,
            self._field,
            self._axis.steps.view,
            self._values.view,
            self._axis.times.view,
        )

    def _are_known(self, values: Sequence[float]) -> bool:
        if self._is_int:
            return min(values) >= 0
        return not any(map(operator.ne, values, values))  # NaN differs from itself


class _Records:
    """Some fields of one rank in one attempt."""

    def __init__(self, rank: int, fields: tuple[str, ...], paths: RankPaths) -> None:
        self._rank, self._fields = rank, fields
        self._file = GrowingFile(paths.metrics)
        self._clear()

    def _clear(self) -> None:
        self._axis = _Axis()
        self._lines = {field: _Line(self._rank, field, self._axis) for field in self._fields}

    @property
    def axis(self) -> _Axis:
        """Steps and times of all reports."""
        return self._axis

    def poll(self, field: str) -> Series:
        """The whole series of one field; the same object when nothing is new."""
        is_changed = self._file.refresh()
        if is_changed:
            self._clear()
        while data := self._file.read(multiple_of=METRIC_BYTES):
            self._append(data)
            is_changed = True
        if is_changed:
            for line in self._lines.values():
                line.publish()
        return self._lines[field].series

    def _append(self, data: bytes) -> None:
        steps = metrics.column(data, "global_step")
        times = metrics.column(data, "time_s")
        values = {field: _values(field, data) for field in self._fields}
        if steps[0] > self._axis.last and all(map(operator.lt, steps, islice(steps, 1, None))):
            self._extend(steps, times, values)
            return
        for at, step in enumerate(steps):
            one = slice(at, at + 1)
            if step <= self._axis.last:
                # Another agent has read the log again: its report replaces this one.
                self._cut(int(step))
            self._extend(steps[one], times[one], {name: all_[one] for name, all_ in values.items()})

    def _extend(
        self, steps: Sequence[float], times: Sequence[float], values: Mapping[str, Sequence[float]]
    ) -> None:
        self._axis.extend(steps, times)
        for field, line in self._lines.items():
            line.extend(steps, times, values[field])

    def _cut(self, step: int) -> None:
        kept = self._axis.cut(step)
        for line in self._lines.values():
            line.cut(step, kept)


class _Samples:
    """The samples of one rank in one attempt, each at the step of the report before it."""

    def __init__(self, rank: int, is_load: bool, paths: RankPaths, reports: _Records) -> None:
        self._rank, self._reports = rank, reports
        self._names = OF_LOAD if is_load else OF_DEVICE
        self._unpack = metrics.unpack_loads if is_load else metrics.unpack_devices
        self._record_bytes = LOAD_BYTES if is_load else DEVICE_BYTES
        self._file = GrowingFile(paths.load if is_load else paths.device)
        self._clear()

    def _clear(self) -> None:
        self._axis = _Axis()
        self._lines = {name: _Line(self._rank, name, self._axis) for name in self._names}

    def poll(self, field: str) -> Series:
        """The whole series of one field; empty before the first report."""
        self._reports.poll("loss")
        is_changed = self._file.refresh()
        if is_changed:
            self._clear()
        steps, times = self._reports.axis.steps.view, self._reports.axis.times.view
        while steps and (data := self._file.read(multiple_of=self._record_bytes)):
            records: Sequence[Any] = self._unpack(data)
            when = [record.time_s for record in records]
            where = [steps[max(bisect_right(times, time_s) - 1, 0)] for time_s in when]
            self._axis.extend(where, when)
            for name, line in self._lines.items():
                # In `device.bin` it is `use_percent`.
                found = [getattr(record, name.removeprefix("device_")) for record in records]
                line.extend(where, when, [math.nan if v is None else v for v in found])
            is_changed = True
        if is_changed:
            for line in self._lines.values():
                line.publish()
        return self._lines[field].series


def _values(field: str, data: bytes) -> Sequence[float]:
    if field == "busy_ms":
        times = metrics.column(data, "step_time_ms")
        return list(map(operator.sub, times, metrics.column(data, "wait_ms")))
    return metrics.column(data, field)


class _Joined:
    """One field over several attempts; of the newest one only what is new is appended."""

    def __init__(self, rank: int, field: str) -> None:
        self._rank, self._field = rank, field
        self._parts: tuple[Series, ...] = ()
        self.series = Series(rank, field)

    def join(self, parts: tuple[Series, ...]) -> Series:
        """Of steps that were trained again the later attempt counts."""
        if _are_same(parts, self._parts):
            return self.series
        if _are_same(parts[:-1], self._parts[:-1]) and _is_continued(self._parts[-1], parts[-1]):
            self._append(parts[-1], len(self._parts[-1].steps))
        else:
            self._start(parts)
        self._parts = parts
        columns = (self._steps.view, self._values.view, self._times.view)
        self.series = Series(self._rank, self._field, *columns)
        return self.series

    def _start(self, parts: tuple[Series, ...]) -> None:
        codes = [part.values.format for part in parts if isinstance(part.values, memoryview)]
        self._steps, self._values = Column("q"), Column(codes[0] if codes else "f")
        self._times = Column("d")
        for part in parts:
            if part.steps:
                keep = bisect_left(self._steps.view, part.steps[0])
                for column in (self._steps, self._values, self._times):
                    column.cut(keep)
                self._append(part, 0)

    def _append(self, part: Series, start: int) -> None:
        self._steps.extend(part.steps[start:])
        self._values.extend(part.values[start:])
        self._times.extend(part.times_s[start:])


def _are_same(some: tuple[Series, ...], others: tuple[Series, ...]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _is_continued(before: Series, now: Series) -> bool:
    """Whether `now` has all points of `before`, then more."""
    last = len(before.steps) - 1
    return (
        0 <= last < len(now.steps)
        and now.steps[last] == before.steps[last]
        and now.times_s[last] == before.times_s[last]
    )


class Curves:
    """All series of a run that were requested."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._records: dict[tuple[int, int, tuple[str, ...]], _Records] = {}
        self._samples: dict[tuple[int, int, bool], _Samples] = {}
        self._joined: dict[tuple[int, str], _Joined] = {}

    def series(self, rank: int, field: str, attempts: tuple[int, ...]) -> Series:
        """One field of one rank over ``attempts``, oldest first.

        Of steps that were trained again the later attempt counts. Raises UsageError for an unknown
        field.
        """
        if field not in SERIES_FIELDS:
            raise UsageError(f"no field {field!r}", f"known: {', '.join(SERIES_FIELDS)}")
        source = self._samples_of if field in (*OF_DEVICE, *OF_LOAD) else self._of
        parts = tuple(source(attempt, rank, field).poll(field) for attempt in attempts)
        if len(parts) == 1:
            return parts[0]
        joined = self._joined.setdefault((rank, field), _Joined(rank, field))
        return joined.join(parts)

    def _of(self, attempt: int, rank: int, field: str) -> _Records:
        fields = _TOGETHER if field in _TOGETHER else (field,)
        key = (attempt, rank, fields)
        if key not in self._records:
            paths = self._paths.attempt(attempt).rank(rank)
            self._records[key] = _Records(rank, fields, paths)
        return self._records[key]

    def _samples_of(self, attempt: int, rank: int, field: str) -> _Samples:
        key = (attempt, rank, field in OF_LOAD)
        if key not in self._samples:
            paths = self._paths.attempt(attempt).rank(rank)
            self._samples[key] = _Samples(rank, key[2], paths, self._of(attempt, rank, "loss"))
        return self._samples[key]


class Column:
    """Numbers of one of `array`'s type codes.

    A view never changes: space is allocated in advance, and its numbers are never overwritten. A
    view of 220,000 numbers takes a microsecond; without views each training step would copy them.
    """

    def __init__(self, code: str) -> None:
        self._numbers = array(code)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, numbers: Sequence[float]) -> None:
        """Appends `numbers`; a view of the same code is copied in one piece."""
        more = numbers if isinstance(numbers, memoryview) else array(self.code, numbers)
        end = self._length + len(more)
        if end > len(self._numbers):
            self._move(end + end // 8 + 64)
        memoryview(self._numbers)[self._length : end] = more
        self._length = end

    def cut(self, length: int) -> None:
        """Keeps the first `length`."""
        if length < self._length:
            self._length = length
            self._move(length)

    @property
    def code(self) -> str:
        """The type code."""
        return self._numbers.typecode

    @property
    def view(self) -> Sequence[Any]:
        """All numbers, read-only."""
        return memoryview(self._numbers)[: self._length].toreadonly()

    def _move(self, room: int) -> None:
        # Views still use the old array.
        moved = array(self.code, bytes(self._numbers.itemsize * room))
        memoryview(moved)[: self._length] = memoryview(self._numbers)[: self._length]
        self._numbers = moved
