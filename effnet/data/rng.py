"""Randomness without state: every draw is a function of what it is for.

A stream is named by a purpose and whole numbers (seed, epoch, image index, ...), so neither the
number of workers nor the number of times a run was resumed changes what is drawn. Philox is a
counter-based generator whose raw output NumPy keeps stable (NEP 19).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream(purpose: str, *numbers: int) -> np.random.Generator:
    """A fresh generator, the same for the same name, on any machine."""
    name = f"{purpose}:{','.join(map(str, numbers))}".encode()
    digest = hashlib.blake2b(name, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8")))


def uniform(shape: tuple[int, ...], purpose: str, *numbers: int) -> NDArray[np.float32]:
    """float32 in [0, 1) of ``shape`` from the stream of that name."""
    return stream(purpose, *numbers).random(shape, dtype=np.float32)
