"""TOML: read by the standard library, written from flat tables."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# By name: mypy knows only one of the two, for any target version.
parse_toml: Callable[[str], dict[str, Any]] = importlib.import_module(
    "tomllib" if sys.version_info >= (3, 11) else "tomli"
).loads
"""Raises ValueError, and RecursionError for deep nesting."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(table: Mapping[str, object]) -> str:
    """One ``key = value`` line each, in the given order; values are scalars or lists of them."""
    return "".join(f"{_key(key)} = {to_value(value)}\n" for key, value in table.items())


def to_value(value: object) -> str:
    """One TOML value. Raises TypeError for what is neither a scalar nor a list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, str):
        # JSON's escapes are TOML's too, except for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return f"[{', '.join(map(to_value, value))}]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else to_value(key)
