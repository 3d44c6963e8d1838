"""A new profile's text: another one's, with a few lines changed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import typer

from launcher import client
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.errors import BusyError, UsageError
from launcher.reading.folders import user_profiles_directory
from launcher.reading.profiles import list_profiles


def write_new(name: str, like: str, ranks: int, data: str) -> Path:
    """Writes the profile into the user's folder. Raises `UsageError`, `ProfileError`, `BusyError`.

    The comments of the other profile stay, because they explain the keys.
    """
    entries = [entry for entry in list_profiles() if entry.name == like and entry.profile]
    if not entries:
        raise UsageError(f"no usable profile {like!r}", "See: effnet-launch profiles list")
    text = Path(entries[0].path).read_text(encoding="utf-8")
    path = user_profiles_directory() / f"{name}.toml"
    if path.exists():
        raise BusyError(f"{path} exists already", "Choose another name, or edit it.")
    if sys.stdin.isatty():
        ranks = ranks or typer.prompt("ranks on each node (0: unchanged)", default=0, type=int)
        data = data or typer.prompt("data folder (empty: unchanged)", default="")
    text = _set(text, "name", name)
    if data:
        text = _set(text, "data_path", str(Path(data).expanduser().absolute()))
    if ranks:
        text = re.sub(r"(?m)^slots = \d+", f"slots = {ranks}", text)
    text = _without_defaults(text, load_profile(text, path.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # it may have secrets
    path.write_text(text, encoding="utf-8")
    return path


def _without_defaults(text: str, profile: Profile) -> str:
    """Without the training keys that are the target's defaults: they would override a recipe."""
    values = client.configuration(profile).values
    same = [value.key for value in values if value.is_default and value.key in profile.trainer]
    head, title, trainer = text.partition("\n[trainer]\n")
    for key in same:
        trainer = re.sub(rf"(?m)^{re.escape(key)} *= .*\n", "", trainer, count=1)
    return head + title + trainer


def _set(text: str, key: str, value: str) -> str:
    # JSON's strings are TOML's basic strings.
    line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    pattern = re.compile(rf"(?m)^{key} = .*$")
    if pattern.search(text):
        return pattern.sub(lambda _: line, text, count=1)
    return f"{line}\n{text}"
