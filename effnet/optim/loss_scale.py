"""The dynamic loss scale: halved when gradients overflow, doubled after many steps without.

Source: mindspore.amp.DynamicLossScaler, which is that of arXiv:1710.03740.
"""

from __future__ import annotations

import numpy as np

from effnet.optim.pieces import Floats

NAME = "loss_scale"
"""Its tensor in a checkpoint: scale, good steps since it changed, skipped steps of the run."""
FACTOR = 2.0
WINDOW = 2000
"""Good steps after which the scale is doubled."""
LEAST, GREATEST = 1.0, 2.0**24
"""It is not halved or doubled beyond these: float32 losses must stay finite."""


def first(scale: float) -> Floats:
    """The state of a new run."""
    return np.array([scale, 0, 0], np.float32)


def adjust(state: Floats, is_finite: bool) -> None:
    """After a step, in place; a step whose gradients are not finite is skipped."""
    scale, good, skipped = state.tolist()
    if not is_finite:
        state[:] = max(LEAST, scale / FACTOR), 0, skipped + 1
    elif good + 1 < WINDOW:
        state[1] = good + 1
    else:
        state[:] = max(scale, min(scale * FACTOR, GREATEST)), 0, skipped


class SkipNotes:
    """Says which steps were skipped."""

    def __init__(self, state: Floats | None) -> None:
        self._skipped = 0 if state is None else int(state[2])

    def note(self, state: Floats, step: int) -> str:
        """After `step` steps; empty if none was skipped since the last call."""
        new, self._skipped = int(state[2]) - self._skipped, int(state[2])
        if not new:
            return ""
        steps = "1 step was" if new == 1 else f"{new} steps were"
        return (
            f"{steps} skipped before step {step}, because gradients overflowed in float16;"
            f" loss_scale is {state[0]:g} now ({self._skipped} skipped in all)"
            + ("; it is not lowered further: set amp_level = O0" if state[0] <= LEAST else "")
        )
