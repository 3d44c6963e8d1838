"""Checkpoints are written beside training: the ranks wait only while the state is copied."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from effnet.contract.report import SavedCheckpoint
from effnet.optim.pieces import Floats
from effnet.train.checkpoint import CheckpointFolder


class Saver:
    """Keeps one copy of the state: a save waits until the one before it is on disk.

    Each checkpoint is passed to `report` once, by the thread that calls, so that lines of the log
    are whole. A failure to write, `CheckpointFailed`, is raised by the next call of any method.
    """

    def __init__(self, folder: CheckpointFolder, report: Callable[[SavedCheckpoint], None]) -> None:
        self._folder = folder
        self._report = report
        self._copy: dict[str, Floats] = {}
        # Python's end waits for this thread: only a killed process leaves an incomplete file.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[SavedCheckpoint] | None = None

    def save(self, tensors: Mapping[str, Floats], **facts: Any) -> float:
        """Copy `tensors`, and begin to write them. -> milliseconds that this took.

        `facts`: as `CheckpointFolder.save` takes.
        """
        start_s = time.perf_counter()
        self.wait()
        for name, tensor in tensors.items():
            np.copyto(self._copy.setdefault(name, np.empty_like(tensor)), tensor)
        pause_ms = (time.perf_counter() - start_s) * 1e3
        self._writing = self._thread.submit(
            self._folder.save, self._copy, pause_ms=pause_ms, **facts
        )
        return pause_ms

    def look(self) -> None:
        """Report a checkpoint that is on disk by now."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._report(writing.result())
