"""The doctor of a Slurm profile: a short job looks at the nodes that Slurm gives."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launcher.checks.probe import OnRow
from launcher.core.checks.row import SLURM, CheckResult, Row, failed, ok, skipped, warning
from launcher.core.profile.model import Profile
from launcher.core.text.figures import plural
from launcher.errors import LaunchError
from launcher.process import slurm
from launcher.reading.folders import runs_directory

WAIT_S = 20
"""For free nodes; the doctor does not wait in the queue."""
JOB_LIMIT_S = 90.0
PYTHON, FOLDER = "python", "runs-folder"


def examine(profile: Profile, on_row: OnRow) -> tuple[Row, ...]:
    """-> every row; `on_row` gets each as soon as it is known."""
    rows: list[Row] = []

    def add(check: str, node: str, found: CheckResult) -> None:
        rows.append(Row(check, node, found.state, found.text, found.hint, found.fix))
        on_row(rows[-1])

    try:
        add("slurm", SLURM, ok(f"{slurm.call('sinfo', '--version').strip()} answers"))
        add("proctrack", SLURM, _proctrack(slurm.call("scontrol", "show", "config")))
    except LaunchError as error:
        add("slurm", SLURM, failed(error.message, error.hint))
        return tuple(rows)
    try:
        seen = _look(profile)
    except (LaunchError, OSError) as error:
        text = f"no {plural(profile.slurm.nodes, 'node')} within {WAIT_S} s: {error}"
        add("nodes", SLURM, skipped(text))
        return tuple(rows)
    for node, python, folder in seen:
        add(PYTHON, node, _python(python))
        add(FOLDER, node, _folder(folder))
    return tuple(rows)


def _proctrack(config: str) -> CheckResult:
    """How Slurm finds the processes of a step when it ends it."""
    fields = {k.strip(): v.strip() for k, _, v in (x.partition("=") for x in config.splitlines())}
    plugin = fields.get("ProctrackType", "")
    if plugin == "proctrack/cgroup":
        return ok(plugin)
    text = f"{plugin or 'unknown'}: a process that leaves its session may outlive the job"
    return warning(text, "Ask the administrator for ProctrackType=proctrack/cgroup.")


def _look(profile: Profile) -> Sequence[tuple[str, str, str]]:
    """(node, its Python's version or its error, `shared` or nothing) by a job on all nodes."""
    folder = runs_directory()
    folder.mkdir(parents=True, exist_ok=True)
    asked = profile.slurm
    python = profile.nodes[0].python or sys.executable
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as marked:
        (Path(marked) / "here").touch()
        code = "import launcher, platform; print(platform.python_version())"
        root = Path(__file__).parents[2]
        script = (
            f'echo "$SLURMD_NODENAME|$(PYTHONPATH={shlex.quote(str(root))}'
            f" {shlex.quote(python)} -c '{code}' 2>&1 | tail -n 1)"
            f'|$(test -e {shlex.quote(marked)}/here && echo shared)"'
        )
        argv = ["srun", f"--immediate={WAIT_S}", f"--nodes={asked.nodes}", "--ntasks-per-node=1"]
        argv += ["--mpi=none", "--quiet", "--input=none", "--time=2", "--chdir=/"]
        argv += [f"--partition={asked.partition}"] if asked.partition else []
        argv += [f"--account={asked.account}"] if asked.account else []
        out = slurm.call(*argv, *asked.options, "sh", "-c", script, timeout_s=JOB_LIMIT_S)
        found = []
        for line in sorted(out.splitlines()):
            with contextlib.suppress(ValueError):
                node, version, shared = line.split("|")
                found.append((node, version, shared))
        return found


def _python(answer: str) -> CheckResult:
    if answer[:1].isdigit():
        return ok(f"Python {answer}, with the launcher")
    hint = "Put the environment on a file system that all nodes see, or set node_defaults.python."
    return failed(answer or "no Python answers", hint)


def _folder(answer: str) -> CheckResult:
    folder = os.fspath(runs_directory())
    if answer == "shared":
        return ok(f"{folder} is shared")
    hint = "Set EFFNET_RUNS_DIR to a folder that all nodes see under that path."
    return failed(f"{folder} is not the folder that it is here", hint)
