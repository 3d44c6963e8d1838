"""Which checkpoint is taken, of all that lie on the machines of a run, and where it is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import CheckpointFacts, ResumeChoice, Skipped, choose_verified
from launcher.errors import NodeError
from launcher.planning.checkpoint_store import LocalStore, Store, stores_of
from launcher.remote import file_copy
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun

AUTO = "auto"
HERE = "this machine"


@dataclass(frozen=True)
class CheckpointQuery:
    """What is looked for: `name` is `auto`, a file's name, or its path.

    `steps_done`: steps that the run has done; `world_size`: that of what shall use it, None when it
    does not matter; `before`: the profile of earlier attempts, where the run's was edited.
    """

    name: str = AUTO
    steps_done: int | None = None
    world_size: int | None = None
    before: Profile | None = None


@dataclass(frozen=True)
class Selection:
    """The choice, and the store that it lies in: None where nothing was found."""

    choice: ResumeChoice
    store: Store | None


def choose(run: StoredRun, query: CheckpointQuery, nodes: NodePool) -> ResumeChoice:
    """What would be used. Never raises for a bad checkpoint; `NodeError` for an absent node."""
    stores = stores_of(run, nodes, query.before)
    return _with_copy(select(stores, query), stores[0])


def fetch(
    run: StoredRun, query: CheckpointQuery, nodes: NodePool, progress: Progress | None = None
) -> ResumeChoice:
    """The same, and it is copied to where rank 0 reads it. Raises `LaunchError`."""
    stores = stores_of(run, nodes, query.before)
    found, target = select(stores, query), stores[0]
    choice = _with_copy(found, target)
    if found.store is None or found.choice.path is None or not choice.copied_to:
        return choice
    path, copied = file_copy.bring_checkpoint(
        found.store.machine, found.choice.path, target.machine, target.folder, progress
    )
    return replace(choice, path=path, copied_bytes=copied)


def select(stores: tuple[Store, ...], query: CheckpointQuery) -> Selection:
    """The newest whole one of all stores, or the one of that name. Raises `NodeError`."""
    if query.name == AUTO:
        return _newest(stores, query)
    found = find_named(stores, query.name)
    if found is not None:
        return _named(*found, query)
    path = stores[0].path_of(query.name)
    return Selection(ResumeChoice(None, f"{path}: its file is missing"), None)


def find_named(stores: tuple[Store, ...], name: str) -> tuple[Store, CheckpointFacts] | None:
    """The first store with a file of that name or path; a path may be one of this machine, too.

    Raises `NodeError`.
    """
    for store in _with_local(stores):
        try:
            facts = store.facts_of(store.path_of(name))
        except NodeError:
            if store is stores[0]:
                raise
            continue
        if facts.file_bytes is not None or facts.manifest is not None:
            return store, facts
    return None


def _newest(stores: tuple[Store, ...], query: CheckpointQuery) -> Selection:
    found: dict[str, tuple[Store, CheckpointFacts]] = {}
    absent: list[Skipped] = []
    for store in stores:
        try:
            all_there = store.find()
        except NodeError as error:
            if store is stores[0]:
                raise
            absent.append(Skipped(f"{store.machine.label}:{store.folder}", error.message))
            continue
        for facts in all_there:
            # Two machines may have the same paths.
            label = store.machine.label or "here"
            path = facts.path if store is stores[0] else f"{label}:{facts.path}"
            found[path] = store, replace(facts, path=path)
    choice = choose_verified(
        tuple(facts for _, facts in found.values()),
        query.steps_done,
        query.world_size,
        lambda path: _sha256(found[path][0], _plain(path, found[path][0], stores[0])),
    )
    choice = replace(choice, skipped=(*choice.skipped, *absent))
    if choice.path is None:
        return Selection(choice, None)
    store = found[choice.path][0]
    return Selection(replace(choice, path=_plain(choice.path, store, stores[0])), store)


def _plain(path: str, store: Store, target: Store) -> str:
    return path if store is target else path.partition(":")[2]


def _sha256(store: Store, path: str) -> str | None:
    content = store.machine.content(path)
    return None if content is None else content.sha256


def _named(store: Store, facts: CheckpointFacts, query: CheckpointQuery) -> Selection:
    choice = choose_verified(
        (facts,), query.steps_done, query.world_size, lambda path: _sha256(store, path)
    )
    if choice.path is None:
        why = choice.skipped[0].why if choice.skipped else "it is not there"
        return Selection(ResumeChoice(None, f"{facts.path}: {why}", skipped=choice.skipped), None)
    return Selection(replace(choice, why="the checkpoint that was asked for"), store)


def _with_local(stores: tuple[Store, ...]) -> tuple[Store, ...]:
    if any(isinstance(store, LocalStore) for store in stores):
        return stores
    return (*stores, LocalStore(Path("/nonexistent")))


def _with_copy(found: Selection, target: Store) -> ResumeChoice:
    store = found.store
    if store is None or store is target or store.machine.label == target.machine.label:
        return found.choice
    return replace(
        found.choice,
        copied_from=store.machine.label or HERE,
        copied_to=target.machine.label or HERE,
    )
