"""How long the rest of an attempt takes."""

from __future__ import annotations

from itertools import pairwise
from statistics import median_low

from launcher.core.run.state import RunState


def remaining_s(state: RunState, steps_done: int | None, step_s: float | None) -> float | None:
    """Seconds to the end of the newest attempt; ``step_s`` is what a step usually takes.

    What an epoch takes beyond its steps (evaluations, checkpoints) is the median over the epochs of
    this attempt, so neither a stalled step nor compilation counts.
    """
    attempt = state.attempt
    if attempt is None or not attempt.epochs or not attempt.steps_per_epoch:
        return None
    if steps_done is None or not step_s:
        return None
    length = attempt.steps_per_epoch
    left = max(0, length * attempt.epochs - steps_done)
    ends = [epoch.time_s for epoch in state.epochs if epoch.attempt == attempt.attempt]
    whole = [end - start for start, end in pairwise(ends)]
    more_s = max(0.0, median_low(whole) - length * step_s) if whole else 0.0
    return left * (step_s + more_s / length)
