"""What our runs left here and on the nodes of their profiles: found, and ended."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from launcher.cleanup import leftovers
from launcher.core.profile.model import Node
from launcher.errors import LaunchError, NodeError, UsageError
from launcher.ipc import operations as op
from launcher.reading.folders import runs_directory
from launcher.reading.runs import run_roots
from launcher.remote import ssh
from launcher.remote.node_client import NodePool
from launcher.remote.run_folders import root_on
from launcher.store import run as run_files
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun
from launcher.store.run_lock import is_supervised

HERE = ""


@dataclass
class Place:
    """A node, and our runs that were on it, by id."""

    node: Node
    runs: dict[str, StoredRun] = field(default_factory=dict)


@dataclass(frozen=True)
class Leftovers:
    """What a machine has, or why it could not be asked."""

    strays: tuple[op.Leftover, ...] = ()
    trouble: str = ""


def places(only: Collection[str] = ()) -> dict[str, Place]:
    """Nodes of the profiles of our runs that nobody supervises now, by `user@address:port`."""
    found: dict[str, Place] = {}
    for run in _ours():
        for node in run.profile.nodes:
            if node.is_local or (only and node.label not in only):
                continue
            name = f"{node.user}@{node.address}:{node.port}"
            found.setdefault(name, Place(node)).runs[run.info.id] = run
    return found


def find(only: Collection[str] = (), *, here_only: bool = False) -> dict[str, Leftovers]:
    """What is left on each machine, by label; this one's is empty. Raises `UsageError`."""
    known = {place.node.label for place in places().values()}
    if unknown := [name for name in only if name not in known]:
        names = ", ".join(sorted(known)) or "none"
        raise UsageError(f"no node {unknown[0]!r}", f"Nodes of runs without supervisor: {names}.")
    found = {HERE: Leftovers(leftovers.find_all(_here(), only_these=False))} if not only else {}
    return found if here_only else {**found, **_of_nodes(only, {})}


def end(found: Mapping[str, Leftovers], only: Collection[str] = ()) -> dict[str, Leftovers]:
    """Ends what was found. -> what is still there."""
    left: dict[str, Leftovers] = {}
    if HERE in found:
        left[HERE] = Leftovers(leftovers.end_all(found[HERE].strays))
    wanted = {label: item.strays for label, item in found.items() if label and item.strays}
    return {**left, **_of_nodes(only, wanted)} if wanted else left


def _of_nodes(
    only: Collection[str], wanted: Mapping[str, tuple[op.Leftover, ...]]
) -> dict[str, Leftovers]:
    """Ends what is `wanted`; without that only finds what is there."""
    asked = [p for p in places(only).values() if not wanted or p.node.label in wanted]
    if not asked:
        return {}
    with ThreadPoolExecutor(min(ssh.MAX_SETTING_UP, len(asked))) as pool:
        answers = pool.map(lambda p: _ask(p, wanted.get(p.node.label, ())), asked)
        return dict(zip((place.node.label for place in asked), answers, strict=True))


def _ask(place: Place, strays: tuple[op.Leftover, ...]) -> Leftovers:
    with NodePool() as nodes:
        client = nodes.client(place.node)
        try:
            runs = tuple(
                op.KnownRun(name, root_on(run, client), read_state(run.paths.root).status.is_over)
                for name, run in place.runs.items()
            )
            if strays:
                return Leftovers(client.call(op.EndLeftovers(runs, strays)))
            return Leftovers(client.call(op.FindLeftovers(runs)))
        except NodeError as error:
            return Leftovers(trouble=str(error))


def _ours() -> list[StoredRun]:
    """Runs of this machine's folder that no supervisor owns now."""
    found = []
    for root in run_roots(runs_directory()):
        with contextlib.suppress(LaunchError):
            if not is_supervised(root):
                found.append(run_files.load(root))
    return found


def _here() -> list[op.KnownRun]:
    return [
        op.KnownRun(run.info.id, str(run.paths.root), read_state(run.paths.root).status.is_over)
        for run in _ours()
    ]
