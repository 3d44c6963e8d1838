"""Exit codes: why a process failed (docs/report-format.md)."""

from __future__ import annotations

from effnet.errors import EffnetError

KINDS = {"other": 1, "config": 2, "data": 3, "loss": 4, "checkpoint": 5, "device": 6}
"""The kinds of errors, as in a fault line, and their exit codes."""


def of(error: EffnetError) -> int:
    return KINDS[error.kind]
