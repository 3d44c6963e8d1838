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
from launcher.core.profile.model import Profile, Slurm
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
    content = _script(options(profile, paths, context.run), root, supervisor)
    return PlannedFile(("",), str(paths.batch_script), content, 0o700)


def job_script(
    profile: Profile, paths: RunPaths, job: str, python: str, node: str = ""
) -> PlannedFile:
    """What ``sbatch`` gets for an evaluation, say: one node like those of the run, or `node`."""
    files, asked = paths.job(job), profile.slurm
    limit = asked.job_time_limit or asked.time_limit
    found = [
        f"--job-name={paths.root.name}/{job}",
        "--nodes=1",
        f"--ntasks-per-node={profile.nodes[0].rank_count}",
        *_place(asked, limit),
        "--no-requeue",
        *_output(str(files.runner_log)),
        *asked.options,
        *([f"--nodelist={node}"] if node else []),
    ]
    command = [*programs.command(programs.JOB_BATCH, python), str(files.job)]
    content = _script(found, str(paths.root), command)
    return PlannedFile(("",), str(files.batch_script), content, 0o700)


def _script(options: Sequence[str], root: str, command: Sequence[str]) -> str:
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {option}" for option in options),
        "# Without a shared runs folder there is nothing to work with.",
        f"cd {shlex.quote(root)} || exit {NOT_SHARED}",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


def options(profile: Profile, paths: RunPaths, run: str) -> tuple[str, ...]:
    """The options of ``sbatch`` for a run."""
    asked = profile.slurm
    found = [
        f"--job-name={run}",
        f"--nodes={asked.nodes}",
        f"--ntasks-per-node={profile.nodes[0].rank_count}",
        *_place(asked, asked.time_limit),
        f"--signal=B:USR1@{asked.signal_s}",
        "--requeue",
        *_output(str(paths.supervisor_log)),
        *asked.options,
    ]
    return tuple(found)


def _place(asked: Slurm, time_limit: str) -> list[str]:
    named = {"partition": asked.partition, "account": asked.account, "time": time_limit}
    return [f"--{name}={value}" for name, value in named.items() if value]


def _output(log: str) -> tuple[str, ...]:
    return "--open-mode=append", f"--output={_quoted(log)}", f"--error={_quoted(log)}"


def _quoted(text: str) -> str:
    """For a line of the script; ``%`` would begin a pattern."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
