"""The heartbeat: what a rank is doing now, for its launcher (docs/report-format.md)."""

from __future__ import annotations

import os
import time

RECORD_BYTES = 128
PHASES = ("init", "compile", "data", "compute", "reduce", "checkpoint", "eval", "export", "done")


class Heartbeat:
    """Rewrites one record in place at each change of phase; without a path it does nothing.

    A watcher that reads `RECORD_BYTES` from offset 0 sees one whole record, since one write of
    that size into a page is not torn.
    """

    def __init__(self, path: str | None) -> None:
        self.step = 0
        self.epoch = 0
        self._phase = "init"
        self._fd = None if not path else os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.phase("init")

    @classmethod
    def from_environment(cls) -> Heartbeat:
        """The launcher sets the path in `EFFNET_HEARTBEAT`."""
        return cls(os.environ.get("EFFNET_HEARTBEAT"))

    def phase(self, phase: str) -> None:
        """Record what begins now, beside the steps and epochs that are done."""
        self._phase = phase
        if self._fd is None:
            return
        record = f"1 {time.time():.6f} {phase} {self.step} {self.epoch} {os.getpid()}"
        os.pwrite(self._fd, record.ljust(RECORD_BYTES - 1).encode() + b"\n", 0)

    def done(self, step: int, epoch: int) -> None:
        """Count `step` global steps and `epoch` epochs as done."""
        self.step, self.epoch = step, epoch

    def close(self) -> None:
        """Record `done` and close the file."""
        if self._fd is not None:
            self.phase("done")
            os.close(self._fd)
            self._fd = None
