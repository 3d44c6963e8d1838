"""Suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """``; did you mean 'x'?`` for the end of an error; empty when no name is similar."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), names, 1, likeness)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
