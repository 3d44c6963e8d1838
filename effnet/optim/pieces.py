"""Flat arrays, and many arrays read as if they were one flat one."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def aligned(size: int) -> Floats:
    """An array that begins at a cache line, for vector instructions."""
    buffer = np.empty(size + 16, np.float32)
    skip = (-buffer.ctypes.data % 64) // 4
    return buffer[skip : skip + size]


class Pieces:
    """`arrays`, of any shapes, one after the other; nothing is copied."""

    def __init__(self, arrays: Sequence[Floats]) -> None:
        self._arrays = [array.reshape(-1) for array in arrays]
        self._ends = np.cumsum([array.size for array in self._arrays]).tolist()

    def between(self, start: int, stop: int) -> Iterator[tuple[slice, Floats]]:
        """The parts from `start` up to `stop`: its place, from `start` on, and the part."""
        number = bisect.bisect_right(self._ends, start)
        at = start
        while at < stop:
            array, end = self._arrays[number], self._ends[number]
            first, last = at - (end - array.size), min(stop, end) - (end - array.size)
            yield slice(at - start, at - start + last - first), array[first:last]
            at += last - first
            number += 1
