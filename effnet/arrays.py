"""Arrays aligned to cache lines, for vector instructions."""

from __future__ import annotations

import numpy as np

from effnet.optim.rmsprop import Floats


def aligned(size: int) -> Floats:
    """An array that begins at a cache line, wherever the process puts it."""
    room = np.empty(size + 16, np.float32)
    skip = (-room.ctypes.data % 64) // 4
    return room[skip : skip + size]
