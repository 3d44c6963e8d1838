"""The checkpoints of a run, as they are on disk."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import CheckpointFacts, order, parse_manifest
from launcher.core.run.paths import CHECKPOINT_SUFFIX, RunPaths, manifest_of
from launcher.errors import ProfileError
from launcher.reading.growing import mark, read_range

MANIFEST_LIMIT_BYTES = 1024 * 1024


def folder_of(paths: RunPaths, profile: Profile | None = None) -> Path:
    """Where a run's checkpoints are: the folder that its profile names, else its own."""
    try:
        profile = profile or profile_from_json(paths.profile.read_bytes())
    except (OSError, ProfileError):
        return paths.checkpoint
    return Path(profile.checkpoint.directory or paths.checkpoint).expanduser()


def find(folder: Path) -> tuple[CheckpointFacts, ...]:
    """All checkpoints of a folder, newest first, with those that have no manifest.

    Their content is not read.
    """
    return order([facts_of(path) for path in folder.glob(f"step-*{CHECKPOINT_SUFFIX}")])


def facts_of(path: Path) -> CheckpointFacts:
    """Of the file behind links such as `model_0/Efficientnet_b2-rank0-1_44.ckpt`."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    manifest = parse_manifest(read_range(manifest_of(path), 0, MANIFEST_LIMIT_BYTES))
    file = mark(path)
    return CheckpointFacts(str(path), manifest, None if file is None else file.size_bytes)
