"""Removes a run: its folder here, and its files on its nodes."""

from __future__ import annotations

import shutil
from pathlib import Path

from launcher.cleanup import leftovers
from launcher.core.profile.copies import copies_node
from launcher.core.profile.model import Node
from launcher.core.run.paths import RunPaths
from launcher.errors import BusyError, LaunchError, NodeError
from launcher.ipc.operations import KnownRun, RemoveRun
from launcher.process import ownership
from launcher.remote import run_folders
from launcher.remote.node_client import NodePool
from launcher.store import owner
from launcher.store import run as run_files
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun
from launcher.store.run_lock import is_supervised


def delete_run(root: Path, nodes: NodePool, *, here_only: bool = False) -> None:
    """Removes the directory of a run whose supervisor is on this machine, on its nodes first.

    Raises `BusyError` while any of its processes lives, and `NodeError` when a node can't be
    reached; then the directory here stays for another try.
    """
    token = owner.must_be_mine(root).token
    is_over = read_state(root).status.is_over
    leftovers.end_agents(KnownRun(root.name, str(root), is_over, token))
    if is_supervised(root) or strays_of(token, root.name):
        status = read_state(root).status.value
        raise BusyError(f"{root.name} is {status}: some of its processes are still there")
    if not here_only:
        _remove_on_nodes(root, token, nodes)
    remove(root)


def remove(root: Path) -> None:
    """Renamed first: a half-removed folder must not look like a run."""
    aside = root.with_name(f".{root.name}.removed")
    owner.forget(root)
    root.rename(aside)
    shutil.rmtree(aside)


def remove_there(root: Path, run: str, token: str) -> None:
    """On a node: the run's folder, after checks that it is one. Raises `LaunchError`."""
    if not root.is_dir():
        return  # a folder that all machines share, or one that was removed before
    paths = RunPaths(root)
    if root.name != run or not (paths.attempts.is_dir() or paths.copies.is_dir()):
        raise LaunchError(f"{root} is not a folder of run {run}; it was not removed")
    leftovers.end_agents(KnownRun(run, str(root), True, token))
    if strays_of(token, run):
        raise BusyError(
            f"processes of {run} are still running", f"End them: effnet-launch stop {run}"
        )
    remove(root)


def strays_of(*tokens: str) -> list[int]:
    """Pids of this machine's living processes whose token begins with one of these."""
    claims = [ownership.Claim(f"{token}/") for token in tokens]
    return [process.pid for claim in claims for process in ownership.owned(claim)]


def _remove_on_nodes(root: Path, token: str, nodes: NodePool) -> None:
    try:
        run = run_files.load(root)
    except LaunchError:
        return  # damaged: its nodes are unknown
    folders = [(node, folder) for node, _, folder in run_folders.folders_of(run)]
    try:
        for node, folder in folders + _with_copies_only(run, folders, nodes):
            if not node.is_local:
                nodes.client(node).call(RemoveRun(folder, run.info.id, token))
    except NodeError as error:
        hint = "To remove only what is on this machine: effnet-launch prune --here"
        raise NodeError(error.node, error.message, hint) from error


def _with_copies_only(
    run: StoredRun, known: list[tuple[Node, str]], nodes: NodePool
) -> list[tuple[Node, str]]:
    """Spares that have copies of checkpoints and that no attempt was on."""
    labels = {node.label for node, _ in known}
    profiles = (run.profile, *(profile for _, profile in run_folders.attempts_of(run)))
    found = {
        node.label: node
        for node in map(copies_node, profiles)
        if node is not None and node.label not in labels and not node.is_local
    }
    return [(node, run_folders.root_on(run, nodes.client(node))) for node in found.values()]
