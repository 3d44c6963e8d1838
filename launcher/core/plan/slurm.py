"""Start method ``slurm``: a batch job whose script is the run's supervisor.

The ranks are those of ``cluster``. Which nodes they are on is known when the job begins.
Source: https://slurm.schedmd.com/sbatch.html.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher import programs
from launcher.core.plan import cluster
from launcher.core.plan.command import python_of
from launcher.core.plan.model import Plan, PlannedFile, RunContext
from launcher.core.profile.check import SLURM_NODE
from launcher.core.profile.model import Profile
from launcher.core.run.paths import RunPaths

NOT_SHARED = 66
"""Exit code of the batch script where the run directory is not on its node."""


def plan(profile: Profile, context: RunContext) -> Plan:
    """That of ``cluster``, and the batch script as long as Slurm has not chosen the nodes."""
    made = cluster.plan(profile, context)
    if not profile.nodes[0].address.startswith(SLURM_NODE):
        return made
    return replace(made, files=(*made.files, batch_script(profile, context)))


def placed(profile: Profile, nodes: Sequence[tuple[str, str]]) -> Profile:
    """The profile with the names and addresses of the nodes that Slurm has chosen."""
    found, secrets = [], dict(profile.secrets)
    for node, (name, address) in zip(profile.nodes, nodes, strict=True):
        found.append(node.model_copy(update={"name": name, "address": address}))
        secrets[name] = profile.secrets.get(node.label, {})
    return profile.model_copy(update={"nodes": tuple(found)}).with_secrets(secrets)


def batch_script(profile: Profile, context: RunContext) -> PlannedFile:
    """The script that ``sbatch`` gets. ``context.resume`` is for the first attempt of the job."""
    root = context.run_directory
    paths = RunPaths(Path(root))
    supervisor = [*programs.command(programs.BATCH, python_of(context, profile.nodes[0])), root]
    supervisor += ["--resume", context.resume] if context.resume else []
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {option}" for option in options(profile, paths, context.run)),
        "# Without a shared runs folder there is nothing to train with.",
        f"cd {shlex.quote(root)} || exit {NOT_SHARED}",
        f"exec {shlex.join(supervisor)}",
    ]
    return PlannedFile(("",), str(paths.batch_script), "\n".join(lines) + "\n", 0o700)


def options(profile: Profile, paths: RunPaths, run: str) -> tuple[str, ...]:
    """The options of ``sbatch`` for a run."""
    asked, log = profile.slurm, _quoted(str(paths.supervisor_log))
    found = [
        f"--job-name={run}",
        f"--nodes={asked.nodes}",
        f"--ntasks-per-node={profile.nodes[0].rank_count}",
        *([f"--partition={asked.partition}"] if asked.partition else []),
        *([f"--account={asked.account}"] if asked.account else []),
        *([f"--time={asked.time_limit}"] if asked.time_limit else []),
        f"--signal=B:USR1@{asked.signal_s}",
        "--requeue",
        "--open-mode=append",
        f"--output={log}",
        f"--error={log}",
        *asked.options,
    ]
    return tuple(found)


def _quoted(text: str) -> str:
    """For a line of the script; ``%`` would begin a pattern."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
