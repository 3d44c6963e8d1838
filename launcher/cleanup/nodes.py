"""Leftovers of our runs, here and on the nodes of their profiles: found, and ended."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from launcher.cleanup import leftovers, slurm_jobs
from launcher.core.profile.home import login_node
from launcher.core.profile.model import Node, StartMethod
from launcher.core.run.events import ProcessesKept
from launcher.errors import LaunchError, NodeError, UsageError
from launcher.ipc import operations as op
from launcher.ipc.operations import Leftovers
from launcher.reading.folders import runs_directory
from launcher.reading.profiles import list_profiles
from launcher.reading.runs import run_roots
from launcher.remote.node_client import NodeClient, NodePool, call_all
from launcher.remote.run_folders import root_on
from launcher.store import owner
from launcher.store import run as run_files
from launcher.store.event_log import EventLog, read_state
from launcher.store.run import StoredRun
from launcher.store.run_lock import is_supervised

HERE = ""


@dataclass
class Place:
    """A node, and our runs that were on it."""

    node: Node
    runs: list[StoredRun] = field(default_factory=list)


def find(
    nodes: NodePool, only: Collection[str] = (), *, here_only: bool = False
) -> dict[str, Leftovers]:
    """What is left on each machine, by label; this one's is empty. Raises `UsageError`."""
    places, logins = _places(_unsupervised()), {} if here_only else _login_nodes()
    labels = {place.node.label for place in places.values()}
    known = sorted(labels | {node.label for node in logins.values()})
    if unknown := [name for name in only if name not in known]:
        names = ", ".join(known) or "none"
        hint = f"Nodes of runs without supervisor, and login nodes: {names}."
        raise UsageError(f"no node {unknown[0]!r}", hint)
    found = {HERE: find_here()} if not only else {}
    if here_only:
        return found
    chosen = {name: place for name, place in places.items() if not only or place.node.label in only}
    asked = {name: node for name, node in logins.items() if not only or node.label in only}
    return {**found, **_call(nodes, chosen, {}), **_call_logins(nodes, asked, {})}


def end(nodes: NodePool, found: Mapping[str, Leftovers]) -> dict[str, Leftovers]:
    """Ends what was found. -> what is still there."""
    strays = {label: item.strays for label, item in found.items() if item.strays}
    left = {HERE: end_here(found[HERE].strays)} if HERE in found else {}
    logins = {name: node for name, node in _login_nodes().items() if node.label in strays}
    labels = {node.label for node in logins.values()}
    places = {
        name: place
        for name, place in _places(_unsupervised()).items()
        if place.node.label in strays and place.node.label not in labels
    }
    return {**left, **_call(nodes, places, strays), **_call_logins(nodes, logins, strays)}


def find_here() -> Leftovers:
    """On this machine, of all of this user's runs; with Slurm, also in its queue."""
    here = [_known(run, str(run.paths.root)) for run in _unsupervised()]
    jobs, trouble = slurm_jobs.find()
    return Leftovers((*leftovers.find_all(here, only_these=False), *jobs), trouble)


def end_here(strays: Collection[op.Leftover]) -> Leftovers:
    """-> what is still there."""
    jobs = [stray for stray in strays if stray.kind == slurm_jobs.KIND]
    others = [stray for stray in strays if stray.kind != slurm_jobs.KIND]
    return Leftovers((*leftovers.end_all(others), *slurm_jobs.end(jobs)))


def end_warm(nodes: NodePool, run: StoredRun) -> bool:
    """Ends what a run that is over keeps for its next attempt. -> whether there was anything.

    Raises `NodeError` when a node can't be reached, after the others.
    """
    here = (_known(run, str(run.paths.root)),)
    places = _places([run])
    found = {HERE: Leftovers(leftovers.find_all(here, only_these=True)), **_call(nodes, places, {})}
    agents = {
        label: tuple(stray for stray in item.strays if stray.kind == "agent")
        for label, item in found.items()
    }
    strays = {label: items for label, items in agents.items() if items}
    is_found = any(agents.values())
    left = {HERE: Leftovers(leftovers.end_all(agents.pop(HERE)))}
    there = {n: place for n, place in places.items() if place.node.label in strays}
    left = {**found, **left, **_call(nodes, there, strays)}
    _record_ended(run, [label for label, item in left.items() if not item.trouble])
    for label, item in left.items():
        if item.trouble:
            hint = "What waits there ends by its own clock."
            raise NodeError(label, item.trouble, hint)
    return is_found


def _record_ended(run: StoredRun, labels: Collection[str]) -> None:
    """Nothing waits on these nodes any more: who watches sees most nodes only by the events."""
    kept = read_state(run.paths.root).kept
    if kept is None:
        return
    waiting = tuple(
        process
        for process in kept.processes
        if (HERE if process.is_here else process.node) not in labels
    )
    if waiting != kept.processes:
        until_s = kept.until_s if waiting else None
        with contextlib.closing(EventLog(run.paths.events)) as log:
            log.add(ProcessesKept(kept.attempt, waiting, until_s))


def _call(
    nodes: NodePool, places: Mapping[str, Place], strays: Mapping[str, tuple[op.Leftover, ...]]
) -> dict[str, Leftovers]:
    """Ends the `strays` of each node by its label; without any only finds what is there."""

    def call(client: NodeClient) -> Leftovers:
        place, label = of_client[client], client.label
        try:
            runs = tuple(_known(run, root_on(run, client)) for run in place.runs)
            if label in strays:
                return Leftovers(client.call(op.EndLeftovers(runs, strays[label])))
            return Leftovers(client.call(op.FindLeftovers(runs)))
        except NodeError as error:
            return Leftovers(trouble=str(error))

    clients = {name: nodes.client(place.node) for name, place in places.items()}
    of_client = {clients[name]: place for name, place in places.items()}
    return {places[name].node.label: item for name, item in call_all(clients, call).items()}


def _call_logins(
    nodes: NodePool, logins: Mapping[str, Node], strays: Mapping[str, tuple[op.Leftover, ...]]
) -> dict[str, Leftovers]:
    """The same for login nodes of Slurm, which know the runs there themselves."""

    def call(client: NodeClient) -> Leftovers:
        runs = client.node.runs_directory
        try:
            if client.label in strays:
                return client.call(op.EndAtLogin(runs, strays[client.label]))
            return client.call(op.FindAtLogin(runs))
        except NodeError as error:
            return Leftovers(trouble=str(error))

    clients = {name: nodes.client(node) for name, node in logins.items()}
    return {logins[name].label: item for name, item in call_all(clients, call).items()}


def _login_nodes() -> dict[str, Node]:
    """Those of this user's profiles and runs, by `user@address:port`."""
    profiles = [entry.profile for entry in list_profiles() if entry.profile is not None]
    for root in run_roots(runs_directory()):
        with contextlib.suppress(LaunchError):
            owner.must_be_mine(root)
            profiles.append(run_files.load(root).profile)
    nodes = [node for profile in profiles if (node := login_node(profile)) is not None]
    return {_name_of(node): node for node in nodes}


def _name_of(node: Node) -> str:
    return f"{node.user}@{node.address}:{node.port}"


def _places(runs: Collection[StoredRun]) -> dict[str, Place]:
    """The nodes of their profiles that only SSH reaches, by `user@address:port`; not Slurm's."""
    found: dict[str, Place] = {}
    for run in runs:
        if run.profile.start_method is StartMethod.SLURM:
            continue
        for node in run.profile.nodes:
            if not node.is_local:
                found.setdefault(_name_of(node), Place(node)).runs.append(run)
    return found


def _unsupervised() -> list[StoredRun]:
    """This user's runs of this machine's folder that have no supervisor now."""
    found = []
    for root in run_roots(runs_directory()):
        with contextlib.suppress(LaunchError):
            owner.must_be_mine(root)
            if not is_supervised(root):
                found.append(run_files.load(root))
    return found


def _known(run: StoredRun, root: str) -> op.KnownRun:
    folder = run.paths.root
    is_over = read_state(folder).status.is_over
    return op.KnownRun(run.info.id, root, is_over, owner.must_be_mine(folder).token)
