"""Profiles: those that ship with the package and the user's own."""

from __future__ import annotations

import importlib.resources
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.core.profile.home import is_all_here
from launcher.core.profile.load import load_profile, profile_from_json
from launcher.core.profile.model import DeviceTarget, Profile
from launcher.core.run.paths import RunPaths
from launcher.core.text.suggest import did_you_mean
from launcher.core.text.toml import parse_toml
from launcher.errors import ProfileError
from launcher.reading.folders import user_notify_file, user_profiles_directory

SUFFIX = ".toml"


@dataclass(frozen=True)
class ProfileEntry:
    """One profile file. ``profile`` is ``None`` when it has ``errors``; ``own`` is the user's.

    ``is_hidden``: the user has a profile with the same name.
    """

    name: str
    path: str
    own: bool
    profile: Profile | None
    errors: tuple[str, ...] = ()
    is_hidden: bool = False

    @property
    def description(self) -> str:
        return "" if self.profile is None else self.profile.description


def shipped_profiles_directory() -> Path:
    """Where the profiles are that come with the package."""
    return Path(str(importlib.resources.files("cluster_profiles")))


def list_profiles() -> list[ProfileEntry]:
    """The user's own profiles, then those that ship, what this machine can run alone first."""
    entries: list[ProfileEntry] = []
    for folder, own in ((user_profiles_directory(), True), (shipped_profiles_directory(), False)):
        names = {entry.name for entry in entries}
        found = [read_profile(path, own=own) for path in _files_of(folder)]
        found = found if own else sorted(found, key=_how_far)
        entries += [replace(entry, is_hidden=entry.name in names) for entry in found]
    return entries


TOOLS = {DeviceTarget.ASCEND: "npu-smi", DeviceTarget.GPU: "nvidia-smi"}
"""What a machine with such devices has on its PATH."""


def _how_far(entry: ProfileEntry) -> tuple[bool, bool, bool, int]:
    """Sorts profiles: devices that are here, then this machine's CPU, then other machines."""
    profile = entry.profile
    if profile is None:
        return True, True, True, 0
    tool = TOOLS.get(profile.device_target)
    lacks_devices = tool is not None and shutil.which(tool) is None
    return lacks_devices, not is_all_here(profile), tool is None, profile.world_size


def find_profile(name_or_path: str | Path) -> Profile:
    """A profile by its name, or by the path of its file. Raises ProfileError with all errors."""
    path = Path(name_or_path).expanduser()
    if path.suffix == SUFFIX or len(path.parts) > 1:
        entry = read_profile(path, own=True)
    else:
        entries = list_profiles()
        found = [item for item in entries if item.name == str(name_or_path) and not item.is_hidden]
        if not found:
            names = [item.name for item in entries if not item.is_hidden]
            raise ProfileError(
                f"no profile {str(name_or_path)!r}{did_you_mean(str(name_or_path), names)}",
                (f"known: {', '.join(names)}",),
                f"your own belong in {user_profiles_directory()}",
            )
        entry = found[0]
    if entry.profile is None:
        count = f"{len(entry.errors)} problem{'s' if len(entry.errors) != 1 else ''}"
        raise ProfileError(f"the profile {entry.path} has {count}", entry.errors)
    return entry.profile


def read_profile(path: Path, *, own: bool) -> ProfileEntry:
    """One profile file; the entry has its errors."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return ProfileEntry(path.stem, str(path), own, None, (f"{path.name}: {reason}",))
    try:
        profile = load_profile(text, path.name, default_name=path.stem, notify=_user_notify())
    except ProfileError as error:
        return ProfileEntry(path.stem, str(path), own, None, error.problems)
    if path.parent.resolve() == shipped_profiles_directory().resolve():
        profile = profile.model_copy(update={"is_shipped": True})
    return ProfileEntry(profile.name, str(path), own, profile)


def _user_notify() -> dict[str, Any] | None:
    """The user's `notify.toml`, if there is one. Raises `ProfileError`."""
    path = user_notify_file()
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"{path} cannot be read", (f"{path}: {error}",)) from None


def _files_of(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []


def checkpoint_folder(paths: RunPaths, profile: Profile | None = None) -> Path:
    """Where a run's checkpoints are: the folder that its profile names, else its own."""
    try:
        profile = profile or profile_from_json(paths.profile.read_bytes())
    except (OSError, ProfileError):
        return paths.checkpoint
    return Path(profile.checkpoint.directory or paths.checkpoint).expanduser()
