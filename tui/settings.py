"""The user's own settings: a flat TOML file in the configuration folder of the platform.

A value that cannot be used is replaced by its default and named, never fatal.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from tui.drawing.glyphs import LEVELS
from tui.drawing.sizes import SIZED
from tui.drawing.themes import NAMES

# By name: mypy knows only one of the two, for any target version.
_toml_reader: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FILE_NAME: Final = "dashboard.toml"
NOTIFY: Final = ("osc9", "osc777", "off")
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


def settings_path() -> Path:
    """Where the settings are, whether or not they are there."""
    return user_config_path("effnet-tui") / FILE_NAME


def load(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and a line for each thing in the file that was not used."""
    try:
        raw = _toml_reader.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings(), ()
    except (OSError, ValueError, RecursionError) as problem:
        return Settings(), (f"{path}: {problem}",)
    return check(raw, str(path))


def check(raw: Mapping[str, Any], where: str) -> tuple[Settings, tuple[str, ...]]:
    """Settings from parsed TOML; what is unknown or wrong is named and left at its default."""
    problems: list[str] = []
    good: dict[str, Any] = {}
    names = {entry.name for entry in fields(Settings)}
    for name, value in raw.items():
        if name not in names:
            problems.append(f"{where}: no setting is called {name}")
        elif (why := _wrong(name, value)) is not None:
            problems.append(f"{where}: {name} {why}")
        else:
            good[name] = _MAKE.get(name, lambda same: same)(value)
    return replace(Settings(), **good), tuple(problems)


def _wrong(name: str, value: object) -> str | None:
    if name == "theme":
        return None if value in ("", *NAMES) else f"is none of {', '.join(NAMES)}"
    if name == "glyphs":
        return None if value in ("", *LEVELS) else f"is none of {', '.join(LEVELS)}"
    if name == "notify":
        return None if value in ("", *NOTIFY) else f"is none of {', '.join(NOTIFY)}"
    if name == "hook":
        whole = isinstance(value, list) and all(isinstance(word, str) for word in value)
        return None if whole else "is not a list of a program and its arguments"
    if name == "refresh_hz":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number and 0.2 <= float(str(value)) <= 10 else "is not between 0.2 and 10"
    if name == "panels":
        return _wrong_panels(value)
    if name == "keymap":
        whole = isinstance(value, dict) and all(isinstance(keys, str) for keys in value.values())
        return None if whole else "is not a table of action = keys"
    return None if isinstance(value, bool) else "is not true or false"


def _wrong_panels(value: object) -> str | None:
    if not isinstance(value, dict) or set(value) - set(SIZED):
        return f"is not a table of {', '.join(SIZED)}"
    whole = all(
        isinstance(part, int | float) and not isinstance(part, bool) and 0 < part < 1
        for part in value.values()
    )
    return None if whole else "has a share that is not between 0 and 1"


def save(path: Path, settings: Settings) -> None:
    """Write the settings, whole or not at all; raises ``OSError``."""
    lines = ["# effnet-tui settings; docs/reference/settings.md says what each one does."]
    values = asdict(settings)
    keymap, panels = values.pop("keymap"), values.pop("panels")
    lines += [f"{name} = {_toml(value)}" for name, value in values.items()]
    lines += ["", "[panels]", *(f"{name} = {_toml(share)}" for name, share in panels.items())]
    lines += ["", "[keymap]", *(f"{_toml(name)} = {_toml(keys)}" for name, keys in keymap.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE_NAME}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(aside, path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(word) for word in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
