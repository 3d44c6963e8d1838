"""The checkpoints that are on disk, and which one a resume takes of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import (
    CheckpointFacts,
    ResumeChoice,
    choose,
    order,
    parse_manifest,
)
from launcher.core.run.fold import RunState
from launcher.core.run.paths import CHECKPOINT_SUFFIX, manifest_of

BLOCK_BYTES = 1 << 20
NOWHERE = Path("/nonexistent")
"""A folder without checkpoints, for paths that are asked for by name."""


def checkpoint_folder(root: Path, profile: Profile) -> Path:
    """Where a run's checkpoints are, seen from this machine."""
    return (
        Path(profile.checkpoint.directory) if profile.checkpoint.directory else root / "checkpoint"
    )


def find(folder: Path) -> tuple[CheckpointFacts, ...]:
    """Every checkpoint of a folder, unverified; no folder is no checkpoint."""
    if not folder.is_dir():
        return ()
    return tuple(facts_of(path) for path in sorted(folder.glob(f"step-*{CHECKPOINT_SUFFIX}")))


def facts_of(path: Path) -> CheckpointFacts:
    """Of the file behind links such as `model_0/Efficientnet_b2-rank0-1_44.ckpt`."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        manifest = parse_manifest(manifest_of(path).read_bytes())
    except OSError:
        manifest = None
    try:
        size = path.stat().st_size
    except OSError:
        size = None
    return CheckpointFacts(str(path), manifest, size)


def sha256_of(path: Path) -> str | None:
    """None when the file cannot be read to its end."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def choose_verified(
    found: tuple[CheckpointFacts, ...],
    newest_step: int | None,
    world_size: int | None,
    digest: Callable[[str], str | None],
) -> ResumeChoice:
    """The newest checkpoint whose content is right; reads no more files than it must.

    `digest`: a path -> its sha256, None when it cannot be read.
    """
    known = {facts.path: facts for facts in found}
    while True:
        choice = choose(tuple(known.values()), newest_step, world_size)
        if choice.path is None or choice.verified:
            return choice
        sha256 = digest(choice.path) or "unreadable"
        known[choice.path] = replace(known[choice.path], sha256=sha256)


def newest_step(state: RunState) -> int | None:
    """How many steps the run is known to have done."""
    steps = [attempt.step for attempt in state.attempts if attempt.step is not None]
    steps += [checkpoint.step for checkpoint in state.checkpoints]
    return max(steps, default=None)


__all__ = ["checkpoint_folder", "choose_verified", "find", "newest_step", "order"]
