"""Names of the fields by which runs are filtered and sorted, for help texts: quick to import."""

from __future__ import annotations

from typing import Final

FIELD_NAMES: Final = (
    *("id", "state", "profile", "note", "cause", "ranks", "attempt", "epoch", "steps", "done"),
    *("loss", "top1", "duration", "goodput", "eta", "age"),
)
