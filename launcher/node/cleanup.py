"""Leftovers on a node: the operations that `launcher.cleanup.nodes` calls."""

from __future__ import annotations

from pathlib import Path

from launcher.cleanup import leftovers, prune
from launcher.ipc import operations as op


def end_leftovers(request: op.EndLeftovers) -> tuple[op.Leftover, ...]:
    """Ends what was found before and is still there."""
    found = leftovers.find_all(request.runs, only_these=True)
    return leftovers.end_all([item for item in found if item in request.leftovers])


HANDLERS: op.Handlers = {
    op.FindLeftovers: lambda request: leftovers.find_all(request.runs, only_these=True),
    op.EndLeftovers: end_leftovers,
    # The folder of a run that is over, checkpoints and all.
    op.RemoveRun: lambda request: prune.remove_there(
        Path(request.root), request.run, request.token
    ),
}
