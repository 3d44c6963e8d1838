"""Leftovers on a node: the operations that `launcher.cleanup.nodes` calls."""

from __future__ import annotations

from pathlib import Path

from launcher.cleanup import leftovers, prune
from launcher.ipc import operations as op


def find_leftovers(request: op.FindLeftovers) -> tuple[op.Leftover, ...]:
    """Of the runs of the request only."""
    return leftovers.find_all(request.runs, only_these=True)


def end_leftovers(request: op.EndLeftovers) -> tuple[op.Leftover, ...]:
    """Ends what was found before and is still there."""
    found = leftovers.find_all(request.runs, only_these=True)
    return leftovers.end_all([item for item in found if item in request.leftovers])


HANDLERS: op.Handlers = {
    op.FindLeftovers: find_leftovers,
    op.EndLeftovers: end_leftovers,
    # The folder of a run that is over, checkpoints and all.
    op.RemoveRun: lambda request: prune.remove_there(Path(request.root), request.run),
}
