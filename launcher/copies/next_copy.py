"""One copy: which checkpoint is copied next, and which copies are not needed any more."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.core.profile.model import Node
from launcher.core.run.checkpoints import (
    CheckpointFacts,
    Manifest,
    order,
    parse_manifest,
    problem_of,
)
from launcher.core.run.events import CheckpointCopied, CheckpointNotCopied
from launcher.core.run.paths import MANIFEST_SUFFIX
from launcher.errors import LaunchError
from launcher.planning.checkpoint_store import Store, copies_of, first_store
from launcher.remote.node_client import NodePool
from launcher.store.atomic import Content
from launcher.store.run import StoredRun


@dataclass(frozen=True)
class Known:
    """What was found before.

    `damaged`: paths of checkpoints that are; `is_dirty`: there may be a copy that was cut.
    """

    damaged: frozenset[str] = frozenset()
    is_dirty: bool = False


@dataclass(frozen=True)
class Copied:
    """What was done. `may_have_more`: whether another checkpoint may still need a copy."""

    event: CheckpointCopied | CheckpointNotCopied | None = None
    may_have_more: bool = False
    is_shared: bool = False
    """Whether the other node sees rank 0's folder, so that a copy would protect nothing."""
    damaged: str = ""
    """The checkpoint that has another sha256 than its manifest: it is never copied."""


def make_next(
    run: StoredRun,
    node: Node,
    attempt: int,
    nodes: NodePool,
    known: Known,
) -> Copied:
    """Copies the newest checkpoint that has no copy on `node`, and deletes old copies there."""
    step: int | None = None
    try:
        source, target = first_store(run, nodes), copies_of(run, node, nodes)
        saved = source.machine.checkpoints(source.folder)
        copies = _by_name(target.machine.checkpoints(target.folder))
        missing = [
            facts
            for facts in saved
            if facts.path not in known.damaged and _needs_copy(facts, copies.get(_name(facts)))
        ]
        if missing and not copies and _sees(target, missing[0]):
            return Copied(is_shared=True)
        _delete_old(saved, copies, target, is_dirty=known.is_dirty)
        if not missing or missing[0].manifest is None:
            return Copied()
        step = missing[0].manifest.step
        return _copy(missing[0], source, target, attempt, step)
    except LaunchError as error:
        return Copied(CheckpointNotCopied(attempt, node.label, error.summary, step))


def _copy(facts: CheckpointFacts, source: Store, target: Store, attempt: int, step: int) -> Copied:
    """Reads the file once: its sha256 is compared where it arrives.

    The trainer may delete it meanwhile. Its manifest is read first, so that only the moment counts
    in which the file is opened.
    """
    known: Manifest | None = None
    begin_s, machine, to = time.monotonic(), source.machine, f"{target.folder}/{_name(facts)}"
    try:
        manifest = b"".join(machine.read(facts.path + MANIFEST_SUFFIX))
        known = parse_manifest(manifest)
        if known is None or known != facts.manifest:
            return Copied(may_have_more=True)
        target.machine.write(to, Content(known.bytes, known.sha256), machine.read(facts.path))
        own = Content(len(manifest), hashlib.sha256(manifest).hexdigest())
        target.machine.write(to + MANIFEST_SUFFIX, own, (manifest,))
    except LaunchError:
        now = machine.checkpoint(facts.path)
        if now.manifest != facts.manifest or now.file_bytes is None:
            return Copied(may_have_more=True)
        if known is None or source.sha256(now) in (None, known.sha256):
            raise
        why = f"{facts.path}: its sha256 is wrong: the file is damaged"
        not_copied = CheckpointNotCopied(attempt, target.name, why, step)
        return Copied(not_copied, may_have_more=True, damaged=facts.path)
    took_ms = round((time.monotonic() - begin_s) * 1000, 3)
    event = CheckpointCopied(attempt, step, target.name, to, known.bytes, took_ms)
    return Copied(event, may_have_more=True)


def _needs_copy(facts: CheckpointFacts, copy: CheckpointFacts | None) -> bool:
    if facts.manifest is None or problem_of(facts):
        return False
    if copy is None or copy.manifest is None or problem_of(copy):
        return True
    return copy.manifest.sha256 != facts.manifest.sha256


def _sees(target: Store, facts: CheckpointFacts) -> bool:
    """Whether the machine has the very same file: a copy would have another time of change."""
    there = target.machine.checkpoint(facts.path)
    return (there.manifest, there.modified_s) == (facts.manifest, facts.modified_s)


def _delete_old(
    saved: tuple[CheckpointFacts, ...],
    copies: Mapping[str, CheckpointFacts],
    target: Store,
    *,
    is_dirty: bool,
) -> None:
    """Those that rank 0's node has not any more.

    As many of the newest are kept as it has: where rank 0 is on a new node it has only one, and the
    copies of older ones are still worth something.
    """
    whole = [facts for facts in saved if not problem_of(facts)]
    newest = order([facts for facts in copies.values() if not problem_of(facts)])[: len(whole)]
    keep = {_name(facts) for facts in (*saved, *newest)}
    if is_dirty or not keep >= copies.keys():
        target.machine.keep_copies(target.folder, tuple(sorted(keep)))


def _by_name(found: tuple[CheckpointFacts, ...]) -> dict[str, CheckpointFacts]:
    return {_name(facts): facts for facts in found}


def _name(facts: CheckpointFacts) -> str:
    return os.path.basename(facts.path)
