"""A hint for a file or folder that does not exist."""

from __future__ import annotations

import difflib
import os
from pathlib import Path


def hint(path: str | os.PathLike[str], otherwise: str | None = None) -> str | None:
    """The nearest name beside `path`, or the first folder of it that is missing, or `otherwise`."""
    missing = Path(path).expanduser().absolute()
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        beside = [name for name in os.listdir(missing.parent) if not name.startswith(".")]
    except OSError:
        return otherwise
    close = difflib.get_close_matches(missing.name, beside, n=1, cutoff=0.6)
    if close:
        return f"did you mean {missing.parent / close[0]}?"
    if str(missing) != os.path.abspath(os.path.expanduser(path)):
        return f"there is no {missing} either"
    return otherwise
