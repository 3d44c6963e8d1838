"""A warning before a disk is full: while there is still time to do something."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from launcher.core.run.events import DiskLow, DiskRecovered, Event

LOOK_S = 10.0
LEAST_BYTES = 512 << 20
CHECKPOINTS = 3
"""Room for so many more of the newest checkpoint must be there."""
ENOUGH = 1.25
"""So much more than is needed must be free again before another warning is given."""


def free_bytes(path: Path) -> int | None:
    """What this user may still write there; None when nobody knows."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


class DiskWatch:
    """The disks that a node's ranks write to: that of the run, and that of the checkpoints."""

    def __init__(
        self,
        root: Path,
        attempt: int,
        node: str,
        emit: Callable[[Event], None],
        free: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        self._needed = {root: LEAST_BYTES}
        self._attempt = attempt
        self._node = node
        self._emit = emit
        self._free = free
        self._is_low: set[Path] = set()
        self._look_at = 0.0

    def saved(self, path: str, size_bytes: int | None) -> None:
        """A checkpoint was written: the next ones need as much."""
        folder = Path(path).parent
        self._needed[folder] = max(LEAST_BYTES, CHECKPOINTS * (size_bytes or 0))

    def look(self, now: float) -> None:
        """`now`: monotonic seconds."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for path, needed in self._needed.items():
            free = self._free(path)
            if free is None:
                continue
            if path in self._is_low and free > ENOUGH * needed:
                self._is_low.remove(path)
                self._emit(DiskRecovered(self._attempt, self._node, str(path), free))
            elif free < needed and path not in self._is_low:
                self._is_low.add(path)
                self._emit(DiskLow(self._attempt, self._node, str(path), free, needed))
