"""Numbers that are appended to, and given out without a copy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any


class Column:
    """Numbers of one of `array`'s type codes.

    A view stays as it is whatever comes after it: room is made in advance, and numbers that were
    given out are never written again. Of 220,000 numbers a view costs a microsecond; a copy would
    be made of all of them at each step of the training.
    """

    def __init__(self, code: str) -> None:
        self._numbers = array(code)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, numbers: Sequence[float]) -> None:
        """Appends `numbers`; those of a view of the same code are copied at once."""
        more = numbers if isinstance(numbers, memoryview) else array(self.code, numbers)
        end = self._length + len(more)
        if end > len(self._numbers):
            self._move(end + end // 8 + 64)
        memoryview(self._numbers)[self._length : end] = more
        self._length = end

    def cut(self, length: int) -> None:
        """Keeps the first `length`."""
        if length < self._length:
            self._length = length
            self._move(length)

    @property
    def code(self) -> str:
        """The type code."""
        return self._numbers.typecode

    @property
    def view(self) -> Sequence[Any]:
        """All numbers, read-only."""
        return memoryview(self._numbers)[: self._length].toreadonly()

    def _move(self, room: int) -> None:
        # Into another array, since the old one is seen through views.
        moved = array(self.code, bytes(self._numbers.itemsize * room))
        memoryview(moved)[: self._length] = memoryview(self._numbers)[: self._length]
        self._numbers = moved
