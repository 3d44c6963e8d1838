"""Where a run's folder is on each of its nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from launcher.core.plan.model import Plan, plan_from_json
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Node, Profile
from launcher.errors import LaunchError
from launcher.ipc.operations import GetFacts
from launcher.remote.node_client import NodeClient
from launcher.store.run import StoredRun


def attempts_of(run: StoredRun) -> Iterator[tuple[Plan, Profile]]:
    """(plan, profile) of its attempts, the newest first; damaged plans are left out."""
    for path in sorted(run.paths.attempts.glob("*/plan.json"), reverse=True):
        with contextlib.suppress(OSError, LaunchError):
            plan = plan_from_json(path.read_bytes())
            yield plan, _profile_of(path, run.profile)


def folders_of(run: StoredRun) -> Iterator[tuple[Node, Profile, str]]:
    """(node, profile, the run's folder there) of all attempts, the newest first, each once.

    A node that is in an attempt's plan and not in its profile is left out: nobody knows its user.
    """
    seen = set()
    for plan, profile in attempts_of(run):
        for planned in plan.nodes:
            key = (planned.name, planned.address, planned.run_directory)
            for node in profile.nodes:
                if (node.label, node.address) == key[:2] and key not in seen:
                    seen.add(key)
                    yield node, profile, planned.run_directory


def _profile_of(plan: Path, otherwise: Profile) -> Profile:
    """An attempt's own profile; runs of earlier versions have none."""
    with contextlib.suppress(OSError, LaunchError):
        return profile_from_json(plan.with_name("profile.json").read_bytes())
    return otherwise


def root_on(run: StoredRun, client: NodeClient) -> str:
    """The run directory on a node, as the newest plan with that node has it, else as the node says.

    Raises `NodeError`.
    """
    node = client.node
    for plan, _ in attempts_of(run):
        for planned in plan.nodes:
            if (planned.name, planned.address) == (node.label, node.address):
                return planned.run_directory
    runs = client.call(GetFacts(node.runs_directory)).runs_directory.rstrip("/")
    return f"{runs}/{run.info.id}" if runs else str(run.paths.root)
