"""One value of one key: its type, its range, and the error message for a wrong value."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
from typing import Any

from effnet.config.schema import keys
from effnet.errors import EffnetError
from effnet.flags import TRUTHS

# Other names people bring along, and values that mean one of ours.
ALIASES = {"eval_every_epochs": "interval", "num_classes": "class_num", "epochs": "epoch_size"}
MEANT = {("lr_decay_mode", "liner"): "linear"}


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it came from (file and line, ``--set``, flag) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(EffnetError):
    """Everything that is wrong with a configuration, in ``problems``."""

    kind = "config"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(problems)
        head = f"the configuration has {count} error{'s' if count > 1 else ''}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in problems)]))


class BadValue(ValueError):
    """The text says what was expected."""


def nearest(word: str, known: list[str]) -> str:
    """``; did you mean x?`` or nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_key(name: str) -> str:
    return f"unknown key {name!r}{nearest(name, [*keys(), *ALIASES])}"


def checked(name: str, raw: Any) -> Any:
    """``raw`` as a valid value of key ``name``; raises :class:`BadValue`.

    Text is read as the key's type, so that ``--set`` and flags need no quotes.
    """
    key = keys()[name]
    value = _typed(key.kind, raw)
    if key.kind in (int, float):
        if not math.isfinite(value):
            raise BadValue(f"expected a finite number, got {raw!r}")
        unit = f" {key.unit}" if key.unit else ""
        if (key.low is not None and value < key.low) or (key.high is not None and value > key.high):
            raise BadValue(f"expected {_range(key.low, key.high)}{unit}, got {raw!r}")
    if key.choices:
        value = MEANT.get((name, value), value)
        if value not in key.choices and not re.fullmatch(key.pattern or "(?!)", value):
            by_case = {choice.lower(): choice for choice in key.choices}
            if value.lower() in by_case:
                return by_case[value.lower()]
            raise BadValue(
                f"expected one of {', '.join(key.choices)}, got {value!r}"
                f"{nearest(value, list(key.choices))}"
            )
    return value


def _typed(kind: type, raw: Any) -> Any:
    if isinstance(raw, str) and kind is not str:
        return _read(kind, raw)
    if isinstance(raw, os.PathLike) and kind is str:
        return os.fspath(raw)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if type(raw) is not kind:
        raise BadValue(f"expected {_name(kind)}, got {_name(type(raw))} {raw!r}")
    return raw


def _read(kind: type, text: str) -> Any:
    word = text.strip().lower()
    if kind is bool:
        if word in TRUTHS:
            return TRUTHS[word]
    else:
        try:
            return kind(word)
        except ValueError:
            pass
    raise BadValue(f"expected {_name(kind)}, got {text!r}")


def _name(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, f"a {kind.__name__}")


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
