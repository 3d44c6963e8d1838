"""Which checkpoint of a run is used, of those on all of its machines, and where it is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import CheckpointFacts, ResumeChoice, Skipped, choose_verified
from launcher.errors import NodeError
from launcher.planning import program_checkpoint
from launcher.planning.checkpoint_store import Store, stores_of
from launcher.remote import file_copy
from launcher.remote.file_copy import LocalFiles, Progress
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun

AUTO = "auto"


@dataclass(frozen=True)
class CheckpointQuery:
    """The checkpoint that is wanted: `name` is `auto`, a file's name, or its path.

    `steps_done`: steps that the run has done; `world_size`: that of the new attempt, None when it
    does not matter; `before`: the profile of earlier attempts, where the run's was edited; `away`:
    nodes that are known not to answer.
    """

    name: str = AUTO
    steps_done: int | None = None
    world_size: int | None = None
    before: Profile | None = None
    away: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Selection:
    """The choice, and the store that has it: None where nothing was found."""

    choice: ResumeChoice
    store: Store | None


@dataclass(frozen=True)
class Found:
    """A choice, the store that has it, and the one that rank 0 reads: None for a script."""

    choice: ResumeChoice
    store: Store | None = None
    target: Store | None = None


def find(run: StoredRun, query: CheckpointQuery, nodes: NodePool) -> Found:
    """The choice, without copying. Raises `NodeError`, nothing for a damaged checkpoint."""
    if (program := run.profile.program) is not None:
        return Found(program_checkpoint.choose(run, program, query.name, query.steps_done, nodes))
    stores = stores_of(run, nodes, query.before)
    found = select(stores, query)
    return Found(_with_copy(found, stores[0]), found.store, stores[0])


def bring(found: Found, progress: Progress | None = None) -> ResumeChoice:
    """Copies what was found to where rank 0 reads it. Raises `LaunchError`."""
    choice, store, target = found.choice, found.store, found.target
    if store is None or target is None or choice.path is None or not choice.copied_to:
        return choice
    path, copied = file_copy.bring_checkpoint(
        store.machine, choice.path, target.machine, target.folder, progress
    )
    return replace(choice, path=path, copied_bytes=copied)


def choose(run: StoredRun, query: CheckpointQuery, nodes: NodePool) -> ResumeChoice:
    """The choice, without copying. Raises `NodeError`, nothing for a damaged checkpoint."""
    return find(run, query, nodes).choice


def fetch(
    run: StoredRun, query: CheckpointQuery, nodes: NodePool, progress: Progress | None = None
) -> ResumeChoice:
    """The same, and it is copied to where rank 0 reads it. Raises `LaunchError`."""
    return bring(find(run, query, nodes), progress)


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
    """The first store with a file of that name or path; also a path on this machine.

    Raises `NodeError`.
    """
    if all(store.machine.label for store in stores):
        stores = (*stores, Store(LocalFiles(), "/nonexistent"))
    for store in stores:
        try:
            facts = store.machine.checkpoint(store.path_of(name))
        except NodeError:
            if store is stores[0]:
                raise
            continue
        if facts.file_bytes is not None or facts.manifest is not None:
            return store, facts
    return None


def _newest(stores: tuple[Store, ...], query: CheckpointQuery) -> Selection:
    found: dict[str, tuple[Store, str]] = {}
    candidates: list[CheckpointFacts] = []
    unreachable: list[Skipped] = []
    for store in stores:
        # Two machines may have the same paths.
        prefix = "" if store is stores[0] else f"{store.machine.label or 'here'}:"
        if store.machine.label and store.machine.label in query.away:
            unreachable.append(Skipped(prefix + store.folder, "it does not answer"))
            continue
        try:
            checkpoints = store.machine.checkpoints(store.folder)
        except NodeError as error:
            if store is stores[0]:
                raise
            unreachable.append(Skipped(prefix + store.folder, error.message))
            continue
        found.update({prefix + facts.path: (store, facts.path) for facts in checkpoints})
        candidates += [replace(facts, path=prefix + facts.path) for facts in checkpoints]

    def sha256(facts: CheckpointFacts) -> str | None:
        store, path = found[facts.path]
        return store.sha256(replace(facts, path=path))

    choice = choose_verified(tuple(candidates), query.steps_done, query.world_size, sha256)
    choice = replace(choice, skipped=(*choice.skipped, *unreachable))
    if choice.path is None:
        return Selection(choice, None)
    store, path = found[choice.path]
    why = f"{choice.why}; it is the copy on {store.name}" if store.is_copy else choice.why
    return Selection(replace(choice, path=path, why=why), store)


def _named(store: Store, facts: CheckpointFacts, query: CheckpointQuery) -> Selection:
    choice = choose_verified((facts,), query.steps_done, query.world_size, store.sha256)
    if choice.path is None:
        why = choice.skipped[0].why if choice.skipped else "it is missing"
        return Selection(ResumeChoice(None, f"{facts.path}: {why}", skipped=choice.skipped), None)
    return Selection(replace(choice, why="the requested checkpoint"), store)


def _with_copy(found: Selection, target: Store) -> ResumeChoice:
    if found.store is None or found.store.machine.label == target.machine.label:
        return found.choice
    return replace(found.choice, copied_from=found.store.name, copied_to=target.name)
