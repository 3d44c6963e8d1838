"""The checkpoints of a run, as they are on disk."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from launcher.core.run.checkpoints import CheckpointFacts, order, parse_manifest
from launcher.core.run.paths import CHECKPOINT_SUFFIX, manifest_of
from launcher.reading.growing import mark, read_range

MANIFEST_LIMIT_BYTES = 1024 * 1024


def find(folder: Path) -> tuple[CheckpointFacts, ...]:
    """All checkpoints of a folder, newest first, with those that have no manifest.

    Their content is not read.
    """
    return order([facts_of(path) for path in folder.glob(f"step-*{CHECKPOINT_SUFFIX}")])


def matching(pattern: str) -> tuple[CheckpointFacts, ...]:
    """Files and folders that match a glob, the newest first."""
    found = [
        facts_of(Path(path)) for path in glob.iglob(os.path.expanduser(pattern), recursive=True)
    ]
    return tuple(sorted(found, key=lambda facts: -(facts.modified_s or 0.0)))


def facts_of(path: Path) -> CheckpointFacts:
    """Of the file behind links such as `model_0/Efficientnet_b2-rank0-1_44.ckpt`."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    manifest = parse_manifest(read_range(manifest_of(path), 0, MANIFEST_LIMIT_BYTES))
    file = mark(path)
    if file is None:
        return CheckpointFacts(str(path), manifest, None)
    size, modified_s = file.size_bytes, file.changed_s
    return CheckpointFacts(str(path), manifest, size, modified_s=modified_s)
