"""Prepare batches ahead with threads and deliver them in order.

Threads, not processes: Pillow decodes and resizes outside the interpreter's lock, threads share
the memory of decoded images, and there is nothing to leave behind (figures: docs/benchmarks.md).
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from effnet.data.sampler import PADDING

AHEAD = 2
"""Batches that are prepared ahead."""
_CHUNK = 16
"""Images that one thread prepares in one go, at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of one step.

    ``images`` float32 (N, 3, S, S); ``labels`` int32 (N,), -1 where ``valid`` is false; ``noise``
    float32 (N, noise_width) in [0, 1), then the columns of `effnet.data.augment.mixing` if images
    are mixed; ``indices`` int64 (N,) into the index, -1 for padding; ``valid`` bool (N,), false for
    padding and, in evaluation, for unreadable images. ``step`` counts within the epoch, from 0.
    """

    step: int
    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    noise: NDArray[np.float32]
    indices: NDArray[np.int64]
    valid: NDArray[np.bool_]


class Source(Protocol):
    """Where images come from, one at a time, ready for the network."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def fill(self, out: NDArray[np.float32], i: int) -> tuple[int, int]:
        """Image ``i`` into ``out``; its label (-1: unreadable) and the index that was used."""
        ...


def batches(
    source: Source,
    rows: NDArray[np.int64],
    threads: int,
    start_step: int = 0,
    noise: Callable[[int], NDArray[np.float32]] | None = None,
) -> Generator[Batch, None, None]:
    """One batch for each row of indices from ``start_step`` on.

    The threads end when the iterator is closed or exhausted, or when an image raises.
    """
    count = rows.shape[1]
    chunk = max(1, min(_CHUNK, -(-count // threads)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="effnet-data")
    waiting: collections.deque[_Pending] = collections.deque()
    upcoming = iter(rows[start_step:])
    try:
        for step in range(start_step, len(rows)):
            while len(waiting) <= AHEAD and (row := next(upcoming, None)) is not None:
                waiting.append(_Pending(pool, source, row, chunk))
            images, labels, indices = waiting.popleft().result()
            drawn = np.empty((count, 0), np.float32) if noise is None else noise(step)
            yield Batch(step, images, labels, drawn, indices, labels >= 0)
            del images, labels, indices  # not kept while the next batch is waited for
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pending:
    """A batch in the making: threads fill it chunk by chunk."""

    def __init__(
        self, pool: ThreadPoolExecutor, source: Source, row: NDArray[np.int64], chunk: int
    ) -> None:
        self._source, self._row = source, row
        # Zeros would cost every page twice.
        self._images = np.empty((len(row), *source.shape), dtype=np.float32)
        self._labels = np.full(len(row), PADDING, dtype=np.int32)
        self._indices = np.full(len(row), PADDING, dtype=np.int64)
        self._parts: list[Future[None]] = [
            pool.submit(self._fill, start, min(start + chunk, len(row)))
            for start in range(0, len(row), chunk)
        ]

    def _fill(self, start: int, stop: int) -> None:
        for n in range(start, stop):
            if self._row[n] == PADDING:
                self._images[n] = 0.0
                continue
            used = self._source.fill(self._images[n], int(self._row[n]))
            self._labels[n], self._indices[n] = used

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
        for part in self._parts:
            part.result()
        return self._images, self._labels, self._indices
