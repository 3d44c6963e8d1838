"""When the lines of a rank's log were written, from its reports."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path

from launcher.core.run import metrics
from launcher.core.run.metrics import METRIC_BYTES
from launcher.reading.growing import GrowingFile


class LogTimes:
    """Time and log offset of every report of one rank in one attempt, read as they come.

    Only reports have a time (docs/reference/metrics.md). A line between two reports was written
    between these two times. 16 bytes a report: 4 MB after 65 h of a step a second.
    """

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._times = array("d")
        self._offsets = array("q")

    def poll(self) -> None:
        """Reads what is new."""
        if self._file.refresh():
            del self._times[:], self._offsets[:]
        while data := self._file.read(multiple_of=METRIC_BYTES):
            times = metrics.column(data, "time_s")
            offsets = metrics.column(data, "log_offset")
            for time_s, offset in zip(times, offsets, strict=True):
                if offset >= 0 and (not self._offsets or offset > self._offsets[-1]):
                    self._offsets.append(int(offset))
                    # A clock that was set back does not reorder a log.
                    self._times.append(max(time_s, self._times[-1] if self._times else time_s))

    def __len__(self) -> int:
        return len(self._times)

    def time_s(self, at: int) -> float:
        """Unix time of report number ``at``."""
        return self._times[at]

    def offset_before(self, time_s: float) -> int | None:
        """Where the line of the last report that is not newer than ``time_s`` begins."""
        at = bisect_right(self._times, time_s)
        return self._offsets[at - 1] if at else None

    def time_before(self, offset: int) -> float:
        """Time of the last report whose line begins at ``offset`` or before; else -infinity."""
        at = bisect_right(self._offsets, offset)
        return self._times[at - 1] if at else -math.inf

    def between(self, first: int, end: int) -> dict[int, float]:
        """Offset → time of the reports whose lines begin in ``first`` … ``end``."""
        left, right = bisect_left(self._offsets, first), bisect_right(self._offsets, end)
        return dict(zip(self._offsets[left:right], self._times[left:right], strict=True))
