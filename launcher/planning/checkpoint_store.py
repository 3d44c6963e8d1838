"""Where a run's checkpoints are: on this machine, or on the nodes that rank 0 was on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.profile.model import Node, Profile
from launcher.reading import checkpoints
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

    @property
    def name(self) -> str:
        """The machine's name for messages."""
        return self.machine.label or THIS_MACHINE

    def path_of(self, name: str) -> str:
        """The path of a checkpoint that was requested by name or path."""
        if "/" not in name and (self.machine.label or Path(self.folder, name).exists()):
            return f"{self.folder}/{name}"
        return name if self.machine.label else str(Path(name).expanduser().absolute())

    def sha256(self, path: str) -> str | None:
        content = self.machine.content(path)
        return None if content is None else content.sha256


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
    """`folder` is where it is on the node; empty: the run's own folder there."""
    here = checkpoints.folder_of(run.paths, profile)
    if node.is_local or (profile.checkpoint.shared and here.is_dir()):
        return Store(LocalFiles(), str(here))
    client = nodes.client(node)
    folder = folder or profile.checkpoint.directory
    folder = folder or f"{run_folders.root_on(run, client)}/checkpoint"
    return Store(NodeFiles(client), folder)
