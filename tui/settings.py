"""The user's own settings: a flat TOML file in the configuration folder of the platform.

A value that cannot be used is reported, and its default is used.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from launcher.core.text.toml import to_toml
from tui.drawing.glyphs import LEVELS
from tui.drawing.sizes import SIZED
from tui.drawing.themes import NAMES

# By name: mypy knows only one of the two, for any target version.
_toml_reader: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FILE_NAME: Final = "dashboard.toml"
Rule = tuple[Callable[[Any], bool], str]
"""Whether a value can be used, and what it must be otherwise."""
_MAKE: Final[Mapping[str, Callable[[Any], Any]]] = {"refresh_hz": float, "hook": tuple}


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. Empty means: as the terminal allows."""

    theme: str = ""
    refresh_hz: float = 4.0
    glyphs: str = ""
    mouse: bool = True
    bell: bool = True
    notify: str = ""
    hook: tuple[str, ...] = ()  # a program and its arguments
    panels: Mapping[str, float] = field(default_factory=dict)  # sizes, see ``tui.drawing.sizes``
    keymap: Mapping[str, str] = field(default_factory=dict)  # action id → keys, comma-separated


def _is_share(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 < value < 1


def _is_rate(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0.2 <= value <= 10


def _one_of(names: Sequence[str]) -> Rule:
    return lambda value: value in ("", *names), f"one of {', '.join(names)}"


def _all_strings(values: Collection[object]) -> bool:
    return all(isinstance(value, str) for value in values)


_SWITCH: Final[Rule] = lambda value: isinstance(value, bool), "true or false"
_RULES: Final[Mapping[str, Rule]] = {
    "theme": _one_of(NAMES),
    "glyphs": _one_of(LEVELS),
    "notify": _one_of(("osc9", "osc777", "off")),
    "mouse": _SWITCH,
    "bell": _SWITCH,
    "refresh_hz": (_is_rate, "between 0.2 and 10"),
    "hook": (
        lambda value: isinstance(value, list) and _all_strings(value),
        "a list of a program and its arguments",
    ),
    "panels": (
        lambda value: (
            isinstance(value, dict)
            and set(value) <= set(SIZED)
            and all(map(_is_share, value.values()))
        ),
        f"a table of {', '.join(SIZED)} with shares between 0 and 1",
    ),
    "keymap": (
        lambda value: isinstance(value, dict) and _all_strings(value.values()),
        "a table of action = keys",
    ),
}


def settings_path() -> Path:
    """Where the file is, whether or not it exists."""
    return user_config_path("effnet-tui") / FILE_NAME


def load(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and a line for each thing in the file that could not be used."""
    try:
        raw = _toml_reader.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings(), ()
    except (OSError, ValueError, RecursionError) as problem:
        return Settings(), (f"{path}: {problem}",)
    return check(raw, str(path))


def check(raw: Mapping[str, Any], where: str) -> tuple[Settings, tuple[str, ...]]:
    """Settings from parsed TOML; what is unknown or wrong is reported and keeps its default."""
    problems: list[str] = []
    good: dict[str, Any] = {}
    for name, value in raw.items():
        if (rule := _RULES.get(name)) is None:
            problems.append(f"{where}: no setting is called {name}")
        elif not rule[0](value):
            problems.append(f"{where}: {name} is not {rule[1]}")
        else:
            good[name] = _MAKE.get(name, lambda same: same)(value)
    return Settings(**good), tuple(problems)


def save(path: Path, settings: Settings) -> None:
    """Write the settings, whole or not at all; raises ``OSError``."""
    values = asdict(settings)
    keymap, panels = values.pop("keymap"), values.pop("panels")
    text = "# effnet-tui settings, explained in docs/reference/settings.md\n"
    text += f"{to_toml(values)}\n[panels]\n{to_toml(panels)}\n[keymap]\n{to_toml(keymap)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE_NAME}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise
