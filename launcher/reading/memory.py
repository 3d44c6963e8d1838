"""The memory of a rank over time, from the samples that its agent took."""

from __future__ import annotations

from pathlib import Path

from launcher.core.run import metrics
from launcher.core.run.metrics import DEVICE_BYTES, DeviceRecord
from launcher.reading.growing import mark, read_range

MEMORY_S = 60.0
READ_RECORDS = 1024

Samples = tuple[DeviceRecord, ...]


def memory_samples(path: Path, first_s: float, last_s: float) -> Samples:
    """Those between two moments, of the newest in the file; a process that ends has none."""
    found = mark(path)
    if found is None:
        return ()
    start, length = metrics.window(found.size_bytes, READ_RECORDS, DEVICE_BYTES)
    samples = metrics.unpack_devices(read_range(path, start, length))
    return tuple(one for one in samples if first_s <= one.time_s <= last_s and one.used_bytes > 0)
