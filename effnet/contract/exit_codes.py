"""Exit codes: why a process failed (docs/report-format.md)."""

from __future__ import annotations

from effnet.errors import EffnetError

OTHER, CONFIG, DATA, LOSS, CHECKPOINT, DEVICE = 1, 2, 3, 4, 5, 6

KINDS = {
    "config": CONFIG,
    "data": DATA,
    "loss": LOSS,
    "checkpoint": CHECKPOINT,
    "device": DEVICE,
    "other": OTHER,
}
"""The kinds of errors, as in a fault line, and their exit codes."""


def of(error: EffnetError) -> int:
    return KINDS[error.kind]
