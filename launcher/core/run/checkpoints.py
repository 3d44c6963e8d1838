"""The choice of the checkpoint for a resume, and why newer ones are skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.core.text.figures import checkpoint_words


@dataclass(frozen=True)
class Manifest:
    """The manifest of a checkpoint (``FILE.manifest.json``); ``None``: not known.

    ``epoch`` and ``step`` are done, ``step`` over all epochs; ``config`` is the trainer's
    configuration when it was written.
    """

    sha256: str
    bytes: int
    epoch: int
    step: int
    steps_per_epoch: int | None = None
    world_size: int | None = None
    created_s: float | None = None
    config: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known of one checkpoint.

    ``manifest`` is ``None`` when it is missing or unreadable. ``file_bytes`` is ``None`` when the
    file itself is missing. ``sha256`` is that of the file, if it was computed, ``modified_s`` when
    it was last written.
    """

    path: str
    manifest: Manifest | None
    file_bytes: int | None
    sha256: str | None = None
    modified_s: float | None = None


@dataclass(frozen=True)
class StartCheckpoint:
    """The checkpoint that an attempt continues from; ``epoch`` and ``step`` are done, if known.

    ``path`` is ``auto`` where the program finds it itself.
    """

    path: str
    epoch: int | None
    step: int | None
    why: str = ""
    steps_lost: int | None = None

    @property
    def place(self) -> str:
        """Where it is in the training, in words."""
        return checkpoint_words(self.path, self.epoch, self.step)


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that is not used, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class ResumeChoice:
    """The checkpoint for a resume; ``path`` is ``None`` when there is none.

    ``steps_lost`` is how many steps the newest known one is ahead; ``verified`` says whether the
    file's sha256 was computed and is right. ``copied_from`` and ``copied_to`` name the machines
    where it lies and where it is needed, when these differ; ``copied_bytes`` is 0 until it is
    there, or when it was already. ``saved_s`` is when a program's own checkpoint was written.
    """

    path: str | None
    why: str
    epoch: int | None = None
    step: int | None = None
    steps_lost: int | None = None
    world_size: int | None = None
    verified: bool = False
    skipped: tuple[Skipped, ...] = ()
    copied_from: str = ""
    copied_to: str = ""
    copied_bytes: int = 0
    saved_s: float | None = None

    @property
    def place(self) -> str:
        """Where it is in the training, in words."""
        return checkpoint_words(self.path or "", self.epoch, self.step)


def parse_manifest(text: str | bytes) -> Manifest | None:
    """The manifest in a JSON text; ``None`` when it is damaged. Never raises."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    sha256, size = data.get("sha256"), _count(data.get("bytes"))
    epoch, step = _count(data.get("epoch")), _count(data.get("step"))
    if not isinstance(sha256, str) or size is None or epoch is None or step is None:
        return None
    config = data.get("config")
    return Manifest(
        sha256=sha256,
        bytes=size,
        epoch=epoch,
        step=step,
        steps_per_epoch=_count(data.get("steps_per_epoch")),
        world_size=_count(data.get("world_size")),
        created_s=_seconds(data.get("created")),
        config=tuple(sorted(config.items())) if isinstance(config, dict) else (),
    )


def order(found: Sequence[CheckpointFacts]) -> tuple[CheckpointFacts, ...]:
    """Newest first: by steps done, then by when it was written. Unreadable ones come first."""

    def age(facts: CheckpointFacts) -> tuple[float, float, str]:
        if facts.manifest is None:
            return (-math.inf, 0.0, facts.path)
        return (-facts.manifest.step, -(facts.manifest.created_s or 0.0), facts.path)

    return tuple(sorted(found, key=age))


def problem_of(facts: CheckpointFacts) -> str:
    """Why a checkpoint is not whole; empty when no problem is known."""
    manifest = facts.manifest
    if manifest is None:
        return "its manifest is missing or damaged: it was still being written"
    if facts.file_bytes is None:
        return "its file is missing"
    if facts.file_bytes != manifest.bytes:
        return f"its file has {facts.file_bytes} bytes of {manifest.bytes}"
    if facts.sha256 is not None and facts.sha256 != manifest.sha256:
        return "its sha256 is wrong: the file is damaged"
    return ""


def mismatch(manifest: Manifest, world_size: int | None) -> str:
    """Why a whole checkpoint cannot be used with this number of ranks; empty when it can."""
    if world_size is None or manifest.world_size in (None, world_size):
        return ""
    if manifest.steps_per_epoch is None or manifest.step % max(1, manifest.steps_per_epoch):
        return (
            f"it was written by {manifest.world_size} ranks in the middle of an epoch,"
            f" and {world_size} ranks can only start at an epoch's end"
        )
    return ""


def choose(
    found: Sequence[CheckpointFacts],
    newest_step: int | None = None,
    world_size: int | None = None,
) -> ResumeChoice:
    """The newest whole checkpoint. ``newest_step`` is how many steps the run had done.

    ``world_size`` is that of the new attempt, where it may differ.
    """
    skipped: list[Skipped] = []
    for facts in order(found):
        manifest = facts.manifest
        why_not = problem_of(facts) or (mismatch(manifest, world_size) if manifest else "")
        if why_not or manifest is None:
            skipped.append(Skipped(facts.path, why_not))
            continue
        lost = None if newest_step is None else max(0, newest_step - manifest.step)
        return ResumeChoice(
            path=facts.path,
            why=_why(len(skipped)),
            epoch=manifest.epoch,
            step=manifest.step,
            steps_lost=lost,
            world_size=manifest.world_size,
            verified=facts.sha256 is not None,
            skipped=tuple(skipped),
        )
    why = "no checkpoint is whole" if skipped else "there is no checkpoint"
    return ResumeChoice(path=None, why=why, skipped=tuple(skipped))


def choose_verified(
    found: Sequence[CheckpointFacts],
    newest_step: int | None,
    world_size: int | None,
    digest: Callable[[CheckpointFacts], str | None],
) -> ResumeChoice:
    """The newest checkpoint whose content is right; reads no more files than it must.

    ``digest``: the sha256 of a checkpoint's file, ``None`` when it cannot be read.
    """
    known = {facts.path: facts for facts in found}
    while True:
        choice = choose(tuple(known.values()), newest_step, world_size)
        if choice.path is None or choice.verified:
            return choice
        facts = known[choice.path]
        known[choice.path] = replace(facts, sha256=digest(facts) or "unreadable")


def _why(skipped: int) -> str:
    if not skipped:
        return "the newest checkpoint, and it is whole"
    newer = "the newer one was" if skipped == 1 else f"{skipped} newer ones were"
    return f"the newest whole checkpoint; {newer} passed over"


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e12 else None
