"""The files of one rank of one attempt, read as they grow."""

from __future__ import annotations

from collections import deque
from itertools import islice
from statistics import median

from launcher.core.diagnosis.hang import usual_interval_s
from launcher.core.run import metrics
from launcher.core.run.heartbeat import HEARTBEAT_BYTES, Heartbeat, parse_heartbeat
from launcher.core.run.metrics import (
    DEVICE_BYTES,
    LOAD_BYTES,
    METRIC_BYTES,
    DeviceRecord,
    LoadRecord,
    MetricRecord,
    StepTimes,
)
from launcher.core.run.paths import RankPaths
from launcher.reading.growing import GrowingFile, mark, read_range

RECENT = 256
"""Reports kept for rates: with data sinking 256 of them are hours."""

LATENESS_REPORTS = 20
SAMPLES = 8


class RankFiles:
    """The newest data of a rank: its last ``reports``. Only the end of long files is read."""

    def __init__(self, paths: RankPaths, reports: int = RECENT) -> None:
        self.paths = paths
        self.recent: deque[MetricRecord] = deque(maxlen=reports)
        self.device: DeviceRecord | None = None
        self.load: LoadRecord | None = None
        self.heartbeat: Heartbeat | None = None
        self.log_bytes = 0
        self.log_changed_s: float | None = None
        self._metrics = GrowingFile(paths.metrics)
        self._device = GrowingFile(paths.device)
        self._load = GrowingFile(paths.load)

    def poll(self) -> None:
        """Reads what is new."""
        if self._metrics.refresh():
            self.recent.clear()
        if data := _newest(self._metrics, self.recent.maxlen or RECENT, METRIC_BYTES):
            self.recent.extend(metrics.unpack(data))
        self._device.refresh()
        for sample in metrics.unpack_devices(_newest(self._device, SAMPLES, DEVICE_BYTES)):
            if sample.used_bytes > 0:  # a process that is ending has none
                self.device = sample
        self._load.refresh()
        for load in metrics.unpack_loads(_newest(self._load, 1, LOAD_BYTES)):
            self.load = load
        if beat := parse_heartbeat(read_range(self.paths.heartbeat, 0, HEARTBEAT_BYTES + 1)):
            self.heartbeat = beat
        log = mark(self.paths.log)
        self.log_bytes = 0 if log is None else log.size_bytes
        self.log_changed_s = None if log is None or not log.size_bytes else log.changed_s

    @property
    def last(self) -> MetricRecord | None:
        """The newest report."""
        return self.recent[-1] if self.recent else None

    @property
    def data_s(self) -> float | None:
        """When the newest sign of life came."""
        times = [
            self.last and self.last.time_s,
            self.device and self.device.time_s,
            self.heartbeat and self.heartbeat.time_s,
            self.log_changed_s,
        ]
        return max((time_s for time_s in times if time_s), default=None)

    @property
    def interval_s(self) -> float | None:
        """The usual time between two reports; ``None`` before there are enough."""
        return usual_interval_s(list(self.recent))

    def quiet_s(self, now_s: float) -> float | None:
        """Since the newest report, on the clock of the rank's node where that is known."""
        if self.last is None:
            return None
        return (now_s if self.device is None else self.device.time_s) - self.last.time_s

    @property
    def busy_ms(self) -> float | None:
        """The median over the last reports of a step's time without its waiting."""
        times = [
            record.step_time_ms - record.wait_ms
            for record in islice(reversed(self.recent), LATENESS_REPORTS)
            if record.step_time_ms is not None and record.wait_ms is not None
        ]
        return median(times) if times else None

    @property
    def step_s(self) -> float | None:
        """The usual time of a step: the median over the recent reports, without the first one."""
        known = [record.step_time_ms for record in self.recent if record.step_time_ms is not None]
        times = known[1:] or known
        return median(times) / 1000 if times else None


def _newest(file: GrowingFile, records: int, record_bytes: int) -> bytes:
    """The new records of a file, at most its last ``records``."""
    start, _ = metrics.window(file.size_bytes, records, record_bytes)
    file.offset = max(file.offset, start)
    return file.read(records * record_bytes, record_bytes)


def step_times_of(paths: RankPaths) -> list[StepTimes]:
    """Those of all step reports of a rank."""
    size = mark(paths.metrics)
    return metrics.step_times(read_range(paths.metrics, 0, 0 if size is None else size.size_bytes))
