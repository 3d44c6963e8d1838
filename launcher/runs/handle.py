"""Opens a run to act on it; the class depends on where its supervisor is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from launcher.core.profile.model import StartMethod
from launcher.errors import NodeError
from launcher.remote.node_client import NodePool
from launcher.runs.base import Run
from launcher.runs.delegated import DelegatedRun, home_of
from launcher.runs.local import LocalRun
from launcher.runs.slurm import SlurmRun
from launcher.store import owner
from launcher.store import run as run_files


def open_run(root: Path) -> Run:
    """Raises `NotMineError` for one that this user may only read, `RunNotFoundError`."""
    owner.must_be_mine(root)
    home = home_of(root)
    return open_here(root) if home is None else DelegatedRun(root, home)


def open_here(root: Path) -> LocalRun:
    """A run whose directory is no copy. Raises `RunNotFoundError`."""
    is_slurm = run_files.load(root).profile.start_method is StartMethod.SLURM
    return SlurmRun(root) if is_slurm else LocalRun(root)


def delete_all(
    runs: Iterable[Run], nodes: NodePool, *, here_only: bool = False
) -> tuple[list[str], list[str]]:
    """-> (ids of runs that were removed, why others stay). Raises `BusyError`."""
    removed, problems = [], []
    for run in runs:
        try:
            run.delete(nodes, here_only=here_only)
        except NodeError as error:  # noqa: PERF203 one that fails must not keep the others
            problems.append(f"{run.id} stays: {error}")
        else:
            removed.append(run.id)
    return removed, problems
