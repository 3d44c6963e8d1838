"""Where a run's checkpoints lie: on this machine, or on the node of rank 0."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from launcher.core.checkpoints import CheckpointFacts
from launcher.core.codec import from_plain
from launcher.core.plan import plan_from_json
from launcher.errors import LaunchError
from launcher.shell import checkpoint_files
from launcher.shell.reach import Reach
from launcher.shell.run_files import StoredRun


class Store(Protocol):
    """A folder of checkpoints. What asks a node raises `NodeError`."""

    def find(self) -> tuple[CheckpointFacts, ...]: ...

    def facts_of(self, path: str) -> CheckpointFacts: ...

    def sha256_of(self, path: str) -> str | None: ...

    def path_of(self, name: str) -> str:
        """The path of a checkpoint that was asked for by name or path."""
        ...


class LocalStore:
    """A folder that this machine sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self) -> tuple[CheckpointFacts, ...]:
        return checkpoint_files.find(self._folder)

    def facts_of(self, path: str) -> CheckpointFacts:
        return checkpoint_files.facts_of(Path(path))

    def sha256_of(self, path: str) -> str | None:
        return checkpoint_files.sha256_of(Path(path))

    def path_of(self, name: str) -> str:
        if "/" not in name and (self._folder / name).exists():
            return str(self._folder / name)
        return str(Path(name).expanduser().absolute())


class NodeStore:
    """A folder on a node: the node reads and digests its files itself."""

    def __init__(self, reach: Reach, folder: str) -> None:
        self._reach = reach
        self._folder = folder

    def find(self) -> tuple[CheckpointFacts, ...]:
        reply = self._reach.checked(self._reach.ask("checkpoints", folder=self._folder))
        return tuple(from_plain(CheckpointFacts, item) for item in reply["found"])

    def facts_of(self, path: str) -> CheckpointFacts:
        reply = self._reach.checked(self._reach.ask("checkpoint", path=path))
        return from_plain(CheckpointFacts, reply["facts"])

    def sha256_of(self, path: str) -> str | None:
        reply = self._reach.checked(self._reach.ask("checkpoint", path=path, verify=True))
        digest = reply.get("sha256")
        return digest if isinstance(digest, str) else None

    def path_of(self, name: str) -> str:
        return name if "/" in name else f"{self._folder}/{name}"


@contextlib.contextmanager
def store_of(run: StoredRun) -> Iterator[Store]:
    """The run's checkpoints; a connection that was needed is closed behind."""
    profile, first = run.profile, run.profile.nodes[0]
    folder = checkpoint_files.checkpoint_folder(run.paths.root, profile)
    if first.is_local or (profile.checkpoint.shared and folder.is_dir()):
        yield LocalStore(folder)
        return
    reach = Reach(first)
    try:
        yield NodeStore(reach, profile.checkpoint.directory or f"{_root_there(run)}/checkpoint")
    finally:
        reach.drop()


def _root_there(run: StoredRun) -> str:
    """The run directory on the first node, as the newest plan names it."""
    label = run.profile.nodes[0].label
    for path in sorted(run.paths.attempts.glob("*/plan.json"), reverse=True):
        with contextlib.suppress(OSError, LaunchError):
            plan = plan_from_json(path.read_text())
            for node in plan.nodes:
                if node.name == label:
                    return node.run_directory
    return str(run.paths.root)
