"""Leftovers on a node: the operations that `launcher.cleanup.nodes` calls."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from launcher.cleanup import leftovers, nodes, prune
from launcher.ipc import operations as op
from launcher.reading.folders import RUNS_VARIABLE


def end_leftovers(request: op.EndLeftovers) -> tuple[op.Leftover, ...]:
    """Ends what was found before and is still there."""
    found = leftovers.find_all(request.runs, only_these=True)
    return leftovers.end_all([item for item in found if item in request.leftovers])


def find_at_login(request: op.FindAtLogin) -> op.Leftovers:
    _use_runs(request.runs)
    return nodes.find_here()


def end_at_login(request: op.EndAtLogin) -> op.Leftovers:
    """Ends what was found before and is still there."""
    _use_runs(request.runs)
    known = {_key(stray) for stray in request.leftovers}
    return nodes.end_here([stray for stray in nodes.find_here().strays if _key(stray) in known])


def _use_runs(runs: str) -> None:
    if runs:
        os.environ[RUNS_VARIABLE] = os.path.expanduser(runs)


def _key(stray: op.Leftover) -> op.Leftover:
    """The words of a job in the queue change."""
    return replace(stray, what="") if stray.job else stray


HANDLERS: op.Handlers = {
    op.FindLeftovers: lambda request: leftovers.find_all(request.runs, only_these=True),
    op.EndLeftovers: end_leftovers,
    op.FindAtLogin: find_at_login,
    op.EndAtLogin: end_at_login,
    # The folder of a run that is over, checkpoints and all.
    op.RemoveRun: lambda request: prune.remove_there(
        Path(request.root), request.run, request.token
    ),
}
