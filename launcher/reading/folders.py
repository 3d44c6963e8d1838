"""Where runs and profiles are on this machine."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP = "effnet-tui"
RUNS_VARIABLE = "EFFNET_RUNS_DIR"
PROFILES_VARIABLE = "EFFNET_PROFILES_DIR"


def runs_directory() -> Path:
    """``$EFFNET_RUNS_DIR``, else the ``runs`` folder of the user's data folder."""
    return _folder(RUNS_VARIABLE, platformdirs.user_data_path(APP, appauthor=False) / "runs")


def user_profiles_directory() -> Path:
    """``$EFFNET_PROFILES_DIR``, else the ``profiles`` folder of the user's settings folder."""
    default = platformdirs.user_config_path(APP, appauthor=False) / "profiles"
    return _folder(PROFILES_VARIABLE, default)


@dataclass(frozen=True)
class UserCache:
    """The folder for what can be made again, of the launcher and of the trainer."""

    path: str
    bytes: int


def user_cache() -> UserCache:
    """This user's, with the size of its files."""
    root, total = platformdirs.user_cache_path(APP, appauthor=False), 0
    for folder, _, files in os.walk(root):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return UserCache(str(root), total)


def user_notify_file() -> Path:
    """``notify.toml`` in the user's settings folder, for profiles without ``[notify]``."""
    return platformdirs.user_config_path(APP, appauthor=False) / "notify.toml"


def _folder(variable: str, default: Path) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().absolute() if chosen else default
