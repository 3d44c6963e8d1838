"""Where a run's folder is on each of its nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from launcher.core.plan import Plan, plan_from_json
from launcher.core.profile import Node
from launcher.errors import LaunchError
from launcher.shell.reach import Reach
from launcher.shell.run_files import StoredRun


def plans_of(run: StoredRun) -> Iterator[Plan]:
    """The plans of its attempts, the newest first; damaged ones are left out."""
    for path in sorted(run.paths.attempts.glob("*/plan.json"), reverse=True):
        with contextlib.suppress(OSError, LaunchError):
            yield plan_from_json(path.read_text())


def planned_root(run: StoredRun, node: Node) -> str:
    """The run directory on a node, as the newest plan with that node names it; else empty."""
    for plan in plans_of(run):
        for planned in plan.nodes:
            if (planned.name, planned.address) == (node.label, node.address):
                return planned.run_directory
    return ""


def root_on(run: StoredRun, reach: Reach) -> str:
    """The same; a node that no attempt has used is asked. Raises `NodeError`."""
    node = reach.node
    planned = planned_root(run, node)
    if planned:
        return planned
    reply = reach.checked(reach.ask("facts", runs_directory=node.runs_directory))
    runs = str(reply.get("runs_directory", "")).rstrip("/")
    return f"{runs}/{run.info.id}" if runs else str(run.paths.root)
