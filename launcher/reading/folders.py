"""Where runs and profiles live on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP = "effnet-tui"
RUNS_VARIABLE = "EFFNET_RUNS_DIR"
PROFILES_VARIABLE = "EFFNET_PROFILES_DIR"


def runs_directory() -> Path:
    """``$EFFNET_RUNS_DIR``, else the ``runs`` folder of the user's data folder."""
    chosen = os.environ.get(RUNS_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path(APP, appauthor=False) / "runs"


def user_profiles_directory() -> Path:
    """``$EFFNET_PROFILES_DIR``, else the ``profiles`` folder of the user's settings folder."""
    chosen = os.environ.get(PROFILES_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_config_path(APP, appauthor=False) / "profiles"
