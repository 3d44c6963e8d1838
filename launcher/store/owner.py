"""Files of a run that must not be in its directory."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import platformdirs

from launcher.reading.folders import APP


def private_folder(root: Path) -> Path:
    """Where files of a run are that must not be in its directory. Raises `LaunchError`."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return platformdirs.user_state_path(APP, appauthor=False) / "runs" / name


def forget(root: Path) -> None:
    """Removes everything that is kept for a run outside of its directory."""
    shutil.rmtree(private_folder(root), ignore_errors=True)
