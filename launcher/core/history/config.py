"""The training configuration of a run: the value of each key, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SET, DEFAULT = "--set", "default"
OF_THE_FOLDER = ("save_checkpoint_path",)
"""Keys that the launcher sets to a path of the run itself."""


@dataclass(frozen=True)
class Setting:
    """``source``: ``--set``, ``--data``, ``profile NAME``, or ``default`` (also of a recipe)."""

    value: Any
    source: str


def resolved(
    saved: Mapping[str, Any],
    trainer: Mapping[str, Any],
    profile: str,
    settings: Sequence[tuple[str, str]],
    data_path: str = "",
) -> dict[str, Setting]:
    """Each key with its value, sorted; the later arguments are stronger.

    ``saved`` is what the trainer wrote into a checkpoint's manifest: all keys. Without a checkpoint
    only the keys that somebody set are known.
    """
    found = {key: Setting(value, DEFAULT) for key, value in saved.items()}
    found |= {
        key: Setting(value, f"profile {profile}")
        for key, value in trainer.items()
        # A recipe is stronger than a profile that ships.
        if saved.get(key, value) == value
    }
    for key, text in settings:
        found[key.strip().replace("-", "_")] = Setting(parsed(text), SET)
    if data_path:
        found["dataset_path"] = Setting(data_path, "--data")
    return {key: found[key] for key in sorted(found) if key not in OF_THE_FOLDER}


def parsed(text: str) -> bool | int | float | str:
    """The value that a text of ``--set`` means."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text


def shown(value: Any) -> str:
    """A value as it is typed after ``--set``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ",".join(map(shown, value))
    return str(value)
