"""Configuration files: flat TOML, one ``key = value`` a line."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from effnet.config.schema import TrainConfig, as_dict
from effnet.config.values import ConfigError, Problem

# The same module under its older name, which Python 3.10 installs.
_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's values and the line of each key.

    Raises :class:`ConfigError` that names the file, and the line where TOML itself is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error}")]) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The same from a text that messages call ``name``."""
    try:
        values: dict[str, Any] = _toml.loads(text)
    # Beside a TOMLDecodeError: a number of more than 4,300 digits, and tables within tables.
    except (ValueError, RecursionError) as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{name}, line {found[1]}" if found else f"{name}, at its end"
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigError([Problem(where, f"not valid TOML: {what}")]) from error
    return values, _lines(text)


def _lines(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.match(r"""\s*\[?\s*["']?([\w-]+)["']?\s*[=\].]""", line)
        if found:
            lines.setdefault(found[1], number)
    return lines


def write(config: TrainConfig, sources: dict[str, str] | None = None) -> str:
    """The configuration as a file that :func:`read` gives back unchanged.

    ``sources`` adds where each value came from, as a comment.
    """
    lines = []
    for name, value in as_dict(config).items():
        line = f"{name} = {_value(value)}"
        source = (sources or {}).get(name)
        # A source quotes what the user typed, which may hold a line break.
        shown = "".join(c if c.isprintable() else "?" for c in source or "")
        lines.append(f"{line}  # {shown}" if shown else line)
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A JSON string is a TOML basic string, except that TOML requires DEL to be escaped. And repr of
    # a finite float is TOML but for its exponent without a point, which TOML takes as well.
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
