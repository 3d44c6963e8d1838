"""Where a run's checkpoints are: on this machine, on the nodes that rank 0 was on, and copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.plan.model import Plan, PlannedNode
from launcher.core.profile.copies import copies_node
from launcher.core.profile.model import Node, Profile
from launcher.core.profile.placement import first_rank_node
from launcher.core.run.checkpoints import CheckpointFacts
from launcher.core.run.paths import RunPaths
from launcher.errors import NodeError
from launcher.reading.profiles import checkpoint_folder
from launcher.remote import run_folders
from launcher.remote.file_copy import FileHost, LocalFiles, NodeFiles
from launcher.remote.node_client import NodePool
from launcher.store.run import StoredRun

THIS_MACHINE = "this machine"


@dataclass(frozen=True)
class Store:
    """A folder of checkpoints on a machine."""

    machine: FileHost
    folder: str
    is_copy: bool = False
    """Whether it has copies of what rank 0 wrote on another node."""

    @property
    def name(self) -> str:
        """The machine's name for messages."""
        return self.machine.label or THIS_MACHINE

    def path_of(self, name: str) -> str:
        """The path of a checkpoint that was requested by name or path."""
        if "/" not in name and (self.machine.label or Path(self.folder, name).exists()):
            return f"{self.folder}/{name}"
        return name if self.machine.label else str(Path(name).expanduser().absolute())

    def sha256(self, facts: CheckpointFacts) -> str | None:
        content = self.machine.content_of(facts)
        return None if content is None else content.sha256


def stores_of(run: StoredRun, nodes: NodePool, before: Profile | None = None) -> tuple[Store, ...]:
    """First the folder that rank 0 of the next attempt reads, then those of earlier attempts.

    Then the folders with copies. `before` is the profile that they ran with, when the run's was
    edited. Raises `NodeError` when the first folder's node can't be reached.
    """
    first = first_rank_node(run.profile)
    target = _store(run, run.profile, first, "", nodes)
    stores, known = [target], {_key(first, target.folder)}
    for node, profile, root in _earlier(run, before or run.profile):
        folder = profile.checkpoint.directory or f"{root}/checkpoint"
        if _key(node, folder) not in known:
            known.add(_key(node, folder))
            stores.append(_store(run, profile, node, folder, nodes))
    with_copies = set()
    for profile in (run.profile, *(profile for _, profile in run_folders.attempts_of(run))):
        other = copies_node(profile)
        if other is not None and (key := _key(other, other.label)) not in with_copies:
            with_copies.add(key)
            stores.append(copies_of(run, other, nodes))
    return tuple(stores)


def first_store(run: StoredRun, nodes: NodePool) -> Store:
    """Where rank 0 writes checkpoints. Raises `NodeError`."""
    return _store(run, run.profile, first_rank_node(run.profile), "", nodes)


def copies_of(run: StoredRun, node: Node, nodes: NodePool) -> Store:
    """The folder with copies on a node, which need not answer."""
    if node.is_local:
        return Store(LocalFiles(), str(run.paths.copies), is_copy=True)
    client = nodes.client(node)
    try:
        root = run_folders.root_on(run, client)
    except NodeError:
        root = f"{node.runs_directory or '~'}/{run.info.id}"  # only for the message about it
    return Store(NodeFiles(client), str(RunPaths(Path(root)).copies), is_copy=True)


def _key(node: Node, folder: str) -> tuple[str, str]:
    return ("" if node.is_local else node.address, folder)


def _earlier(run: StoredRun, before: Profile) -> Iterator[tuple[Node, Profile, str]]:
    """Rank 0's nodes of earlier attempts, the newest first, with the run directory there."""
    for plan, profile in run_folders.attempts_of(run):
        planned = _first_rank(plan)
        for known in (profile, before):
            for node in known.nodes:
                if (node.label, node.address) == (planned.name, planned.address):
                    yield node, known, planned.run_directory


def _first_rank(plan: Plan) -> PlannedNode:
    """The node of rank 0: with a rank table not always the first one."""
    name = plan.ranks[0].node if plan.ranks else ""
    return next((node for node in plan.nodes if node.name == name), plan.nodes[0])


def _store(run: StoredRun, profile: Profile, node: Node, folder: str, nodes: NodePool) -> Store:
    """`folder` is where it is on the node; empty: the run's own folder there."""
    here = checkpoint_folder(run.paths, profile)
    if node.is_local or (profile.checkpoint.shared and here.is_dir()):
        return Store(LocalFiles(), str(here))
    client = nodes.client(node)
    folder = folder or profile.checkpoint.directory
    folder = folder or f"{run_folders.root_on(run, client)}/checkpoint"
    return Store(NodeFiles(client), folder)
