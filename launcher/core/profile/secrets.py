"""Variables whose values must not be shown or stored in a run directory.

A profile keeps their values apart from `environment`, where `HIDDEN` stands for each of them. So
all that is made from a profile (its JSON, a plan, a job) has `HIDDEN`, too; only the process that
starts a rank calls `reveal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping

HIDDEN = "(secret)"
Secrets = Mapping[str, Mapping[str, str]]
"""Where the variable is set (a node's label, or empty for the profile) -> name -> value."""

_ENDINGS = re.compile(
    r".*(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|ACCESSKEY|PRIVATEKEY)S?"
)
_WORDS = {"KEY", "KEYS", "PASS", "PWD", "AUTH", "COOKIE", "JWT"}
_LOGIN_IN_URL = re.compile(r"[A-Za-z][\w+.-]*://[^/\s@]*:[^/\s]+@")
SHORT = 6
"""Shorter values are hidden in other texts only where they stand in quotes."""


def is_secret(name: str, value: str, listed: Collection[str] = ()) -> bool:
    """Whether a variable is one, by its name, or because its value is an URL with a password."""
    if value == HIDDEN or name in listed or _LOGIN_IN_URL.search(value):
        return True
    words = re.split(r"[^A-Z0-9]+", name.upper().strip("_"))
    if len(words) == 1 and words[0] == "PWD":
        return False  # the current folder
    return any(word in _WORDS or _ENDINGS.fullmatch(word) for word in words)


def split(
    environment: Mapping[str, str], listed: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """(the variables with `HIDDEN` for secret values, those values as far as they are known)."""
    shown, values = dict(environment), {}
    for name, value in environment.items():
        if is_secret(name, value, listed):
            shown[name] = HIDDEN
            if value != HIDDEN:
                values[name] = value
    return shown, values


def reveal(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The variables with their values; one whose value is not known is left out."""
    found = dict(environment)
    for name, value in environment.items():
        if value == HIDDEN:
            del found[name]
            if name in values:
                found[name] = values[name]
    return found


def redact(text: str, values: Iterable[str]) -> str:
    """A text that may quote them, with `HIDDEN` in their place."""
    for value in sorted(values, key=len, reverse=True):
        for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            if len(form) >= SHORT:
                text = text.replace(form, HIDDEN)
            elif form:
                text = re.sub(rf"""(["']){re.escape(form)}\1""", f'"{HIDDEN}"', text)
    return text
