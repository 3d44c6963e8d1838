"""Compares the logits of an exported file with the network's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effnet.errors import EffnetError

TOLERANCE = 1e-4
"""Of the largest logit."""

_LAST_BITS = 2.0**-22
_TIMES_OWN = 30
_AT_MOST = 0.05
"""A network after few steps can be so ill-conditioned that rounding alone moves its logits by more
than `TOLERANCE`; then this many times the effect of the images' last bits is
tolerated, up to this share of the largest logit."""

Compute = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ExportRefused(EffnetError):
    """The exported file cannot be loaded, or computes something else."""


@dataclass(frozen=True)
class Difference:
    """The largest over all logits; `relative` is to the largest logit's size."""

    max_abs: float
    relative: float
    batches: tuple[int, ...]
    own: float | None = None
    """How far the network's own logits move, as a share too, when its images change in their last
    two bits; measured only past `TOLERANCE`."""

    @property
    def tolerated(self) -> float:
        """The largest `relative` that is not an error."""
        if self.own is None:
            return TOLERANCE
        return min(_AT_MOST, max(TOLERANCE, _TIMES_OWN * self.own))

    def text(self) -> str:
        batches = " and ".join(map(str, self.batches))
        text = (
            f"largest difference from the network at batch {batches}: {self.max_abs:.3g},"
            f" {self.relative:.3g} of the largest logit"
        )
        if self.own is not None:
            text += f" (the last bits of an image move the network's own by {self.own:.3g})"
        return text


def compare(
    exported: Compute, network: Compute, shape: tuple[int, ...], batches: Sequence[int]
) -> Difference:
    """Both on the same random images of `shape` (3, H, W), normally distributed.

    Raises `ExportRefused` above `Difference.tolerated`, and for logits that are not finite.
    """
    draw = np.random.RandomState(1)
    max_abs = largest = 0.0
    for batch in batches:
        images = draw.normal(0.0, 1.0, (batch, *shape)).astype(np.float32)
        expected = network(images)
        try:
            found = exported(images)
        except Exception as error:
            raise ExportRefused(f"the exported file fails at batch {batch}: {error}") from error
        if found.shape != expected.shape:
            raise ExportRefused(
                f"the exported file gives logits of shape {found.shape} at batch {batch}, the"
                f" network {expected.shape}"
            )
        if not (np.isfinite(found).all() and np.isfinite(expected).all()):
            raise ExportRefused(f"logits that are not finite at batch {batch}")
        max_abs = max(max_abs, float(np.abs(found - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    relative = max_abs / largest if largest else max_abs
    own = None
    if relative > TOLERANCE and largest:
        nudge = 1 + _LAST_BITS * draw.uniform(-1, 1, images.shape).astype(np.float32)
        own = float(np.abs(network(images * nudge) - expected).max()) / largest
    difference = Difference(max_abs, relative, tuple(batches), own)
    if relative > difference.tolerated:
        raise ExportRefused(
            f"{difference.text()}; {difference.tolerated:.3g} is tolerated, so no file was written",
            hint="train the network first: untrained weights can amplify rounding this far",
        )
    return difference
