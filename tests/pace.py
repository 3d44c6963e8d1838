"""How fast the stand-in trainer takes its steps."""

from __future__ import annotations

LONG_EPOCHS = 100


def step_s(epochs: int) -> float:
    """Steps are most of what a run costs: one that lasts until a test ends it takes its time."""
    return 0.08 if epochs >= LONG_EPOCHS else 0.02
