"""A run's folder of copies of checkpoints on this machine: what is not needed is deleted."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from launcher.core.run.paths import CHECKPOINT_SUFFIX, RunPaths, manifest_of
from launcher.errors import LaunchError


def keep_only(folder: Path, names: Collection[str]) -> None:
    """Deletes other checkpoints than these, and what was only written in part.

    Nothing may be copying into the folder. Raises `LaunchError`, also for another folder.
    """
    if folder != RunPaths(folder.parent).copies:
        raise LaunchError(f"{folder} is not a run's folder of copies; nothing was deleted")
    try:
        for path in folder.glob(f"step-*{CHECKPOINT_SUFFIX}"):
            if path.name not in names:
                # The manifest first: without it the checkpoint does not exist.
                manifest_of(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        for path in folder.glob(".step-*.part"):
            path.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise LaunchError(f"old copies in {folder} cannot be deleted: {why}") from error
