"""RMSProp as TensorFlow has it, on flat arrays.

In NumPy, because the last bit of the result of MindSpore's ApplyRMSProp depends on the array's
alignment and the number of threads: a resumed run would drift from an uninterrupted one. NumPy's
operations are IEEE's, correctly rounded for any alignment and thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from effnet.optim.pieces import Floats, Pieces

_CHUNK = 32_768
"""Numbers handled at a time, so that all operands of the operations stay in a core's cache: 22 ms
of one core for 7.7 million numbers; 25 ms with half as many, 49 ms for whole arrays."""
_APART = 528
"""Numbers between two arrays of scratch: at the same place in two pages they cost half as much
again (36 ms), since a core confuses a read of one with what it just wrote into the other."""


@dataclass(frozen=True)
class Slots:
    """What an update changes, all flat and of one size.

    `mean_square` begins at ones and `moment` at zeros; `average` is the moving average of the
    weights, if there is one.
    """

    weights: Floats
    mean_square: Floats
    moment: Floats
    average: Floats | None = None


class RmsProp:
    """Epsilon is inside the root.

    Source: TensorFlow's tf.compat.v1.train.RMSPropOptimizer, kernel ApplyRMSProp.
    """

    def __init__(
        self,
        decay: float,
        momentum: float,
        epsilon: float,
        weight_decay: float,
        threads: int = 1,
    ) -> None:
        self._decay = np.float32(1 - decay)
        self._momentum = np.float32(momentum)
        self._epsilon = np.float32(epsilon)
        self._weight_decay = np.float32(weight_decay)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "effnet-optimizer") if threads > 1 else None

    def update(
        self,
        slots: Slots,
        gradient: Pieces,
        lr: float,
        *,
        gradient_scale: float = 1.0,
        decayed: int | None = None,
        average_decay: float = 0.0,
    ) -> None:
        """One step, in place.

        The gradient is multiplied by `gradient_scale` first; weight decay, as L2 in the gradient,
        is for the first `decayed` numbers (all by default). The average
        moves towards the new weights.
        """
        size = slots.weights.size
        decayed = size if decayed is None else decayed

        def part(bounds: tuple[int, int]) -> None:
            scratch = np.empty(2 * _CHUNK + _APART, np.float32)
            second = _CHUNK + _APART
            # The caller reports a loss that is not finite.
            with np.errstate(all="ignore"):
                for start in range(bounds[0], bounds[1], _CHUNK):
                    stop = min(start + _CHUNK, bounds[1])
                    g, t = scratch[: stop - start], scratch[second : second + stop - start]
                    self._gather(slots, gradient, start, stop, g, t, gradient_scale, decayed)
                    self._step(slots, slice(start, stop), g, t, lr, average_decay)

        if self._pool is None:
            part((0, size))
            return
        # Whole chunks for each thread.
        share = -(-size // (self._threads * _CHUNK)) * _CHUNK
        starts = range(0, size, share)
        list(self._pool.map(part, [(start, min(start + share, size)) for start in starts]))

    def _gather(
        self,
        slots: Slots,
        gradient: Pieces,
        start: int,
        stop: int,
        g: Floats,
        t: Floats,
        scale: float,
        decayed: int,
    ) -> None:
        """`g` becomes the gradient from `start` to `stop`, scaled and with weight decay."""
        count = max(0, min(stop, decayed) - start) if self._weight_decay else 0
        np.multiply(slots.weights[start : start + count], self._weight_decay, out=g[:count])
        g[count:] = 0
        for place, piece in gradient.between(start, stop):
            if scale == 1.0:
                g[place] += piece
            else:
                np.multiply(piece, np.float32(scale), out=t[place])
                g[place] += t[place]

    def _step(
        self,
        slots: Slots,
        here: slice,
        g: Floats,
        t: Floats,
        lr: float,
        average_decay: float,
    ) -> None:
        """One chunk; it overwrites `g` and `t`."""
        w, ms, m = slots.weights[here], slots.mean_square[here], slots.moment[here]
        np.multiply(g, g, out=t)
        t -= ms
        t *= self._decay
        ms += t
        np.add(ms, self._epsilon, out=t)
        np.sqrt(t, out=t)
        np.divide(g, t, out=t)
        t *= np.float32(lr)
        m *= self._momentum
        m += t
        w -= m
        if slots.average is not None:
            average(slots.average[here], w, average_decay, t)


def average(average: Floats, values: Floats, decay: float, scratch: Floats) -> None:
    """Move `average` towards `values`, in place; it overwrites `scratch`."""
    average *= np.float32(decay)
    np.multiply(values, np.float32(1 - decay), out=scratch)
    average += scratch
