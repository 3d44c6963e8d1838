"""One update of all weights: clipping, weight decay, the optimizer's rule, the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from effnet.optim.pieces import Floats, Pieces
from effnet.optim.rules import Rule, Slots

_CHUNK = 32_768
"""Numbers handled at a time, so that all operands of the operations stay in a core's cache: 22 ms
of one core for 7.7 million numbers; 25 ms with half as many, 49 ms for whole arrays."""
_APART = 528
"""Numbers between two arrays of scratch: at the same place in two pages they cost half as much
again (36 ms), since a core confuses a read of one with what it just wrote into the other."""


@dataclass(frozen=True)
class Part:
    """Neighbouring weights up to `stop`, with or without weight decay.

    The learning rate is multiplied by `lr_factor`.
    """

    stop: int
    is_decayed: bool = True
    lr_factor: float = 1.0


@dataclass(frozen=True)
class _Chunk:
    start: int
    stop: int
    part: Part


class Optimizer:
    """Updates flat arrays, a chunk at a time, on several threads; `parts` cover all weights."""

    def __init__(
        self,
        rule: Rule,
        weight_decay: float,
        parts: Sequence[Part],
        clip_norm: float = 0.0,
        threads: int = 1,
    ) -> None:
        self._rule = rule
        self._weight_decay = weight_decay
        self._clip_norm = clip_norm
        self._chunks = list(_chunks(parts))
        self._size = parts[-1].stop
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "effnet-optimizer") if threads > 1 else None

    def update(
        self,
        slots: Slots,
        gradient: Pieces,
        lr: float,
        *,
        step: int = 0,
        gradient_scale: float = 1.0,
        average_decay: float = 0.0,
        norm: float | None = None,
    ) -> None:
        """One step, in place; `step` is the number of those before it, `norm` the gradient's.

        The gradient is multiplied by `gradient_scale` first, then shortened to `clip_norm`. The
        average moves towards the new weights.
        """
        if self._clip_norm:
            norm = self.norm(gradient) if norm is None else norm
            gradient_scale *= clip_factor(norm * gradient_scale, self._clip_norm)

        def some(chunks: Sequence[_Chunk]) -> None:
            scratch = np.empty(2 * _CHUNK + _APART, np.float32)
            second = _CHUNK + _APART
            # The caller reports a loss that is not finite.
            with np.errstate(all="ignore"):
                for chunk in chunks:
                    size = chunk.stop - chunk.start
                    g, t = scratch[:size], scratch[second : second + size]
                    own = slots.part(slice(chunk.start, chunk.stop))
                    chunk_lr = lr * chunk.part.lr_factor
                    self._gather(own.weights, gradient, chunk, g, t, gradient_scale)
                    if self._rule.decouples_decay and chunk.part.is_decayed:
                        own.weights[...] *= np.float32(1 - chunk_lr * self._weight_decay)
                    self._rule(own, g, t, chunk_lr, step)
                    if own.average is not None:
                        average(own.average, own.weights, average_decay, t)

        self._on_threads(some, self._chunks)

    def _on_threads(
        self, do: Callable[[Sequence[_Chunk]], object], chunks: Sequence[_Chunk]
    ) -> list[object]:
        if self._pool is None:
            return [do(chunks)]
        share = -(-len(chunks) // self._threads)
        return list(
            self._pool.map(do, [chunks[i : i + share] for i in range(0, len(chunks), share)])
        )

    def _gather(
        self, weights: Floats, gradient: Pieces, chunk: _Chunk, g: Floats, t: Floats, scale: float
    ) -> None:
        """`g` becomes the chunk's gradient, scaled and with weight decay where it is L2."""
        if self._weight_decay and chunk.part.is_decayed and not self._rule.decouples_decay:
            np.multiply(weights, np.float32(self._weight_decay), out=g)
        else:
            g[...] = 0
        for place, piece in gradient.between(chunk.start, chunk.stop):
            if scale == 1.0:
                g[place] += piece
            else:
                np.multiply(piece, np.float32(scale), out=t[place])
                g[place] += t[place]

    def norm(self, gradient: Pieces) -> float:
        """The Euclidean norm, NaN where a number is not finite.

        Its last bit depends on neither threads nor the pieces' layout.
        """

        def squares(chunks: Sequence[_Chunk]) -> list[float]:
            found = []
            whole = np.empty(_CHUNK, np.float64)
            for chunk in chunks:
                part = whole[: chunk.stop - chunk.start]
                for place, piece in gradient.between(chunk.start, chunk.stop):
                    part[place] = piece
                with np.errstate(all="ignore"):
                    np.multiply(part, part, out=part)
                    found.append(float(part.sum()))
            return found

        chunks = list(_chunks([Part(self._size)]))
        sums = [value for found in self._on_threads(squares, chunks) for value in found]  # type: ignore[attr-defined]
        return math.sqrt(math.fsum(sums)) if all(map(math.isfinite, sums)) else math.nan


def _chunks(parts: Sequence[Part]) -> Iterator[_Chunk]:
    start = 0
    for part in parts:
        for first in range(start, part.stop, _CHUNK):
            yield _Chunk(first, min(first + _CHUNK, part.stop), part)
        start = part.stop


def clip_factor(norm: float, limit: float) -> float:
    """What a gradient of this norm is multiplied by. Source: torch.nn.utils.clip_grad_norm_."""
    return min(1.0, limit / (norm + 1e-6))


def average(average: Floats, values: Floats, decay: float, scratch: Floats) -> None:
    """Move `average` towards `values`, in place; it overwrites `scratch`."""
    average *= np.float32(decay)
    np.multiply(values, np.float32(1 - decay), out=scratch)
    average += scratch
