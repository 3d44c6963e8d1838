"""A short name for all numbers of a state, so that ranks can be seen to hold the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def digest(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """The first 16 hex digits of the sha256 over names and bits; equal for equal bits only."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(tensors[name]).data)
    return found.hexdigest()[:16]
