"""Where a run's checkpoints lie: on this machine, or on the nodes that rank 0 was on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from launcher.core.profile.model import Node, Profile
from launcher.core.run.checkpoints import CheckpointFacts
from launcher.ipc import operations as op
from launcher.reading import checkpoints
from launcher.remote import run_folders
from launcher.remote.file_copy import FileHost, LocalFiles, NodeFiles
from launcher.remote.node_client import NodeClient, NodePool
from launcher.store.run import StoredRun


class Store(Protocol):
    """A folder of checkpoints. What asks a node raises `NodeError`."""

    machine: FileHost
    folder: str

    def find(self) -> tuple[CheckpointFacts, ...]: ...

    def facts_of(self, path: str) -> CheckpointFacts: ...

    def path_of(self, name: str) -> str:
        """The path of a checkpoint that was asked for by name or path."""
        ...


class LocalStore:
    """A folder that this machine sees."""

    def __init__(self, folder: Path) -> None:
        self.machine: FileHost = LocalFiles()
        self.folder = str(folder)

    def find(self) -> tuple[CheckpointFacts, ...]:
        return checkpoints.find(Path(self.folder))

    def facts_of(self, path: str) -> CheckpointFacts:
        return checkpoints.facts_of(Path(path))

    def path_of(self, name: str) -> str:
        if "/" not in name and Path(self.folder, name).exists():
            return f"{self.folder}/{name}"
        return str(Path(name).expanduser().absolute())


class NodeStore:
    """A folder on a node: the node reads and digests its files itself."""

    def __init__(self, client: NodeClient, folder: str) -> None:
        self.machine: FileHost = NodeFiles(client)
        self.folder = folder
        self._client = client

    def find(self) -> tuple[CheckpointFacts, ...]:
        return self._client.call(op.FindCheckpoints(self.folder))

    def facts_of(self, path: str) -> CheckpointFacts:
        return self._client.call(op.ReadCheckpoint(path))

    def path_of(self, name: str) -> str:
        return name if "/" in name else f"{self.folder}/{name}"


def stores_of(run: StoredRun, nodes: NodePool, before: Profile | None = None) -> tuple[Store, ...]:
    """First the folder that rank 0 of the next attempt reads, then those of earlier attempts.

    `before` is the profile that they ran with, when the run's was edited. Raises `NodeError` when
    the first folder's node can't be reached.
    """
    target = _store(run, run.profile, run.profile.nodes[0], "", nodes)
    stores, known = [target], {_key(run.profile.nodes[0], target.folder)}
    for node, profile, root in _earlier(run, before or run.profile):
        folder = profile.checkpoint.directory or f"{root}/checkpoint"
        if _key(node, folder) not in known:
            known.add(_key(node, folder))
            stores.append(_store(run, profile, node, folder, nodes))
    return tuple(stores)


def _key(node: Node, folder: str) -> tuple[str, str]:
    return ("" if node.is_local else node.address, folder)


def _earlier(run: StoredRun, before: Profile) -> Iterator[tuple[Node, Profile, str]]:
    """First nodes of earlier attempts, the newest first, with the run directory there."""
    for plan, profile in run_folders.attempts_of(run):
        planned = plan.nodes[0]
        for known in (profile, before):
            for node in known.nodes:
                if (node.label, node.address) == (planned.name, planned.address):
                    yield node, known, planned.run_directory


def _store(run: StoredRun, profile: Profile, node: Node, folder: str, nodes: NodePool) -> Store:
    """`folder` is where it is on the node; empty: wherever the run's is there."""
    here = checkpoints.folder_of(run.paths, profile)
    if node.is_local or (profile.checkpoint.shared and here.is_dir()):
        return LocalStore(here)
    client = nodes.client(node)
    folder = folder or profile.checkpoint.directory
    return NodeStore(client, folder or f"{run_folders.root_on(run, client)}/checkpoint")
