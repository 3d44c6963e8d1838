"""The checkpoints of a run, as they lie on the disk."""

from __future__ import annotations

from pathlib import Path

from launcher.core.profile.load import profile_from_json
from launcher.core.run.checkpoints import CheckpointFacts, order, parse_manifest
from launcher.core.run.paths import CHECKPOINT_SUFFIX, RunPaths, manifest_of
from launcher.errors import ProfileError
from launcher.reading.growing import mark, read_range

MANIFEST_LIMIT_BYTES = 1024 * 1024


def checkpoint_directory(paths: RunPaths) -> Path:
    """Where a run's checkpoints are: the profile's folder, else the run's own."""
    try:
        profile = profile_from_json(paths.profile.read_bytes())
    except (OSError, ProfileError):
        return paths.checkpoint
    return Path(profile.checkpoint.directory or paths.checkpoint).expanduser()


def checkpoints_in(directory: Path) -> tuple[CheckpointFacts, ...]:
    """All checkpoints of a folder, newest first; their content is not read.

    A checkpoint without a manifest does not exist, but it is listed, for a person wants to know
    why it is passed over.
    """
    try:
        files = [path for path in directory.iterdir() if path.suffix == CHECKPOINT_SUFFIX]
    except OSError:
        return ()
    found = []
    for path in files:
        text = read_range(manifest_of(path), 0, MANIFEST_LIMIT_BYTES)
        size = mark(path)
        manifest = parse_manifest(text) if text else None
        found.append(CheckpointFacts(str(path), manifest, size.size_bytes if size else None))
    return order(found)
