"""Loss, time and throughput of the steps since the last report, and of the epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from effnet.contract.report import Window
from effnet.data import Batch

T = TypeVar("T")


class Meter:
    """Starts its clock when made. `loss_sum` over `steps` is what an epoch had before a resume."""

    def __init__(self, images_per_step: int, loss_sum: float = 0.0, steps: int = 0) -> None:
        self._images_per_step = images_per_step
        self._start_s = self._window_s = time.perf_counter()
        self._loss_sum, self._steps_before, self._steps = loss_sum, steps, 0
        self._clear()

    def _clear(self) -> None:
        self.steps = 0
        self._window_loss = self._window_wait_ms = 0.0
        self._waited = False
        self._window_input_ms: float | None = None
        self._window_save_ms = 0.0

    def add(self, loss: float, wait_ms: float | None, steps: int = 1) -> None:
        """Count `steps` steps, of which the others are means."""
        self.steps += steps
        self._steps += steps
        self._loss_sum += loss * steps
        self._window_loss += loss * steps
        if wait_ms is not None:
            self._window_wait_ms += wait_ms * steps
            self._waited = True

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; counts the time that each is waited for. A sink's rows are fed by
        MindSpore, so nobody here knows how long it waits for them.
        """
        source = iter(batches)
        while True:
            start_s = time.perf_counter()
            batch = next(source, None)
            if isinstance(batch, Batch):
                waited_ms = (time.perf_counter() - start_s) * 1e3
                self._window_input_ms = (self._window_input_ms or 0.0) + waited_ms
            if batch is None:
                return
            yield batch

    def saved(self, time_ms: float) -> None:
        """Count a checkpoint between two steps."""
        self._window_save_ms += time_ms

    def pop_window(self) -> Window:
        """The steps since the last call."""
        now_s, done_s = time.perf_counter(), time.time()
        wait_ms = self._window_wait_ms / self.steps if self._waited else None
        window = self._window(self.steps, self._window_loss, now_s - self._window_s, wait_ms)
        if self._window_input_ms is not None:
            window = replace(window, input_ms=self._window_input_ms / self.steps)
        window = replace(window, save_ms=self._window_save_ms / self.steps, done_s=done_s)
        self._window_s = now_s
        self._clear()
        return window

    def whole(self) -> Window:
        """All steps since this meter was made."""
        elapsed_s = time.perf_counter() - self._start_s
        return self._window(self._steps, self._loss_sum, elapsed_s, None)

    def _window(self, steps: int, loss: float, elapsed_s: float, wait_ms: float | None) -> Window:
        return Window(
            steps=steps,
            loss=loss / max(1, steps),
            mean_loss=self._loss_sum / max(1, self._steps_before + self._steps),
            time_ms=elapsed_s * 1e3,
            wait_ms=wait_ms,
            images_per_s=steps * self._images_per_step / max(elapsed_s, 1e-9),
        )
