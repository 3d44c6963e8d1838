"""The rank of the right class among a network's logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def places(logits: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """int64 (N,): classes before the right one, in logits (N, C); 0 is right at rank 1.

    Of equal logits the lower class is first, as argmax has it.
    """
    own = logits[np.arange(len(labels)), labels]
    above = (logits > own[:, None]).sum(axis=1)
    equal = (logits == own[:, None]) & (np.arange(logits.shape[1]) < labels[:, None])
    return np.asarray(above + equal.sum(axis=1), np.int64)
