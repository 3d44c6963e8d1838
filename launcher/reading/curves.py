"""Series for charts, read once and then only what is new."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

from launcher.core import metrics
from launcher.core.metrics import DEVICE_BYTES, FIELDS, METRIC_BYTES
from launcher.core.paths import RankPaths, RunPaths
from launcher.errors import UsageError
from launcher.reading.growing import GrowingFile
from launcher.reading.snapshot import Series

DERIVED = ("busy_ms",)
SERIES_FIELDS = (*(name for name in FIELDS if name not in ("time_s", "global_step")), *DERIVED)
"""What can be charted: the fields of ``metrics.bin``, and ``busy_ms``, step time − wait."""


class _Curve:
    """One field of one rank in one attempt."""

    def __init__(self, rank: int, field: str, paths: RankPaths) -> None:
        self.rank = rank
        self.field = field
        self._file = GrowingFile(paths.metrics)
        self._clear()

    def _clear(self) -> None:
        self._steps = array("q")
        self._values = array("d")
        self._times = array("d")
        self.series = Series(self.rank, self.field)

    def poll(self) -> Series:
        """The whole series; the same object when nothing is new."""
        if self._file.look():
            self._clear()
        before = len(self._steps)
        while data := self._file.read(multiple_of=METRIC_BYTES):
            self._take(data)
        if len(self._steps) != before or len(self.series.steps) != before:
            self.series = Series(
                self.rank,
                self.field,
                tuple(self._steps),
                tuple(self._values),
                tuple(self._times),
            )
        return self.series

    def _take(self, data: bytes) -> None:
        values = _values(self.field, data)
        steps = metrics.column(data, "global_step")
        times = metrics.column(data, "time_s")
        unknown_int = FIELDS.get(self.field, ("", float))[1] is int
        last = self._steps[-1] if self._steps else -1
        for step, value, time_s in zip(steps, values, times, strict=True):
            if math.isnan(value) or (unknown_int and value < 0):
                continue
            if step <= last:
                # Two agents wrote the same report, or a log was read again: the newer one counts.
                self._cut(int(step))
            last = int(step)
            self._steps.append(last)
            self._values.append(value)
            self._times.append(time_s)

    def _cut(self, step: int) -> None:
        keep = bisect_left(self._steps, step)
        del self._steps[keep:], self._values[keep:], self._times[keep:]


def _values(field: str, data: bytes) -> list[float]:
    if field == "busy_ms":
        times = metrics.column(data, "step_time_ms")
        waits = metrics.column(data, "wait_ms")
        return [time - wait for time, wait in zip(times, waits, strict=True)]
    return metrics.column(data, field)


class Curves:
    """All series of a run that were asked for."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._curves: dict[tuple[int, int, str], _Curve] = {}
        self._joined: dict[tuple[int, str], tuple[tuple[Series, ...], Series]] = {}

    def series(self, rank: int, field: str, attempts: tuple[int, ...]) -> Series:
        """One field of one rank over ``attempts``, oldest first.

        Steps that a later attempt took again are the later one's. Raises UsageError for a field
        that is not there.
        """
        if field not in SERIES_FIELDS:
            raise UsageError(f"no field {field!r}", f"known: {', '.join(SERIES_FIELDS)}")
        parts = tuple(self._curve(attempt, rank, field).poll() for attempt in attempts)
        if len(parts) == 1:
            return parts[0]
        known = self._joined.get((rank, field))
        if (
            known is not None
            and all(a is b for a, b in zip(known[0], parts, strict=False))
            and len(known[0]) == len(parts)
        ):
            return known[1]
        joined = _join(rank, field, parts)
        self._joined[rank, field] = (parts, joined)
        return joined

    def device_samples(self, rank: int, attempt: int) -> tuple[metrics.DeviceRecord, ...]:
        """All device samples of a rank in one attempt."""
        file = GrowingFile(self._paths.attempt(attempt).rank(rank).device)
        file.look()
        found: list[metrics.DeviceRecord] = []
        while data := file.read(multiple_of=DEVICE_BYTES):
            found += metrics.unpack_devices(data)
        return tuple(found)

    def _curve(self, attempt: int, rank: int, field: str) -> _Curve:
        key = (attempt, rank, field)
        if key not in self._curves:
            paths = self._paths.attempt(attempt).rank(rank)
            self._curves[key] = _Curve(rank, field, paths)
        return self._curves[key]


def _join(rank: int, field: str, parts: tuple[Series, ...]) -> Series:
    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    times_s: tuple[float, ...] = ()
    for part in parts:
        if part.steps:
            keep = bisect_left(steps, part.steps[0])
            steps = steps[:keep] + part.steps
            values = values[:keep] + part.values
            times_s = times_s[:keep] + part.times_s
    return Series(rank, field, steps, values, times_s)
