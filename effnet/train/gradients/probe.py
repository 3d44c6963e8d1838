"""What a compiled graph computes from known numbers: equal digests mean the same function.

MindSpore reads a step whose weights it cannot find without an error, and the loss is NaN then. So
whoever compiles a step keeps a digest of what it made of these numbers, and whoever reads it has to
get the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from effnet.optim.pieces import Floats
from effnet.train.state.host import TrainState

_FACTOR = 2654435761
"""Knuth's multiplicative hash: neighbours become unrelated numbers."""


def digest(
    run: Callable[..., Any], state: TrainState, inputs: Sequence[Tensor], classes: int
) -> str:
    """Of loss, gradients and statistics; empty if the loss is not finite. Changes no state.

    `inputs` are those of a step: images, labels, noise and scale. Their shapes count, not their
    numbers.
    """
    images, labels, noise, _ = (tuple(tensor.shape) for tensor in inputs)
    found = hashlib.sha256()
    with _known_numbers(state):
        (scaled, loss), gradients = run(
            Tensor.from_numpy(_numbers(images, -1.0, 1.0)),
            Tensor.from_numpy(np.arange(labels[0], dtype=np.int32) % classes),
            Tensor.from_numpy(_numbers(noise, 0.0, 1.0)),
            Tensor(1.0, ms.float32),
        )
        for tensor in (scaled, loss, *gradients):
            found.update(np.ascontiguousarray(tensor.asnumpy()).data)
        found.update(state.buffers.data)
        return found.hexdigest() if np.isfinite(loss.asnumpy()) else ""


def evaluation(
    run: Callable[..., Any], state: TrainState, inputs: Sequence[Tensor], classes: int
) -> str:
    """The same of logits and losses. `inputs`: images and labels."""
    images, labels = (tuple(tensor.shape) for tensor in inputs)
    with _known_numbers(state):
        found = [
            tensor.asnumpy()
            for tensor in run(
                Tensor.from_numpy(_numbers(images, -1.0, 1.0)),
                Tensor.from_numpy(np.arange(labels[0], dtype=np.int32) % classes),
            )
        ]
    if not all(np.isfinite(array).all() for array in found):
        return ""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).data for array in found)).hexdigest()


@contextmanager
def _known_numbers(state: TrainState) -> Iterator[None]:
    """The network has them within this block."""
    flat = (state.weights, state.buffers, state.frozen)
    kept = [array.copy() for array in flat]
    try:
        state.weights[...] = _numbers(state.weights.shape, -0.1, 0.1)
        # Variances are among them.
        state.buffers[...] = _numbers(state.buffers.shape, 0.5, 1.5)
        state.frozen[...] = _numbers(state.frozen.shape, 0.05, 0.15)
        yield
    finally:
        for array, own in zip(flat, kept, strict=True):
            array[...] = own


def _numbers(shape: tuple[int, ...], low: float, high: float) -> Floats:
    """The same ones every time, between `low` and `high`."""
    count = int(np.prod(shape))
    mixed: NDArray[np.uint32] = np.arange(count, dtype=np.uint32) * np.uint32(_FACTOR)
    spread = (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
    return (np.float32(low) + spread * np.float32(high - low)).reshape(shape)
