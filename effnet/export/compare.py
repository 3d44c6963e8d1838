"""Whether an exported file computes what the network computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effnet.errors import EffnetError

TOLERANCE = 1e-4
"""Of the largest logit."""

Compute = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ExportRefused(EffnetError):
    """The exported file cannot be loaded, or computes something else."""


@dataclass(frozen=True)
class Difference:
    """The largest over all logits; `relative` is to the largest logit's size."""

    max_abs: float
    relative: float
    batches: tuple[int, ...]

    def text(self) -> str:
        batches = " and ".join(map(str, self.batches))
        return (
            f"largest difference from the network at batch {batches}: {self.max_abs:.3g},"
            f" {self.relative:.3g} of the largest logit"
        )


def compare(
    exported: Compute, network: Compute, shape: tuple[int, ...], batches: Sequence[int]
) -> Difference:
    """Both on the same random images of `shape` (3, H, W), normally distributed.

    Raises `ExportRefused` past `TOLERANCE`, and for logits that are not finite.
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
    difference = Difference(max_abs, max_abs / largest if largest else max_abs, tuple(batches))
    if difference.relative > TOLERANCE:
        raise ExportRefused(
            f"{difference.text()}; {TOLERANCE:g} is borne, so no file was written",
            hint="a checkpoint whose logits are all near zero proves nothing: was it trained?",
        )
    return difference
