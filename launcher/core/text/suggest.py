"""The known name that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIKENESS = 0.5


def did_you_mean(word: str, known: Iterable[str], likeness: float = LIKENESS) -> str:
    """``; did you mean 'x'?``, to stand behind what is wrong; empty when nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1, likeness)
    return f"; did you mean {near[0]!r}?" if near else ""
