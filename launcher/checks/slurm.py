"""The preflight of a Slurm profile: what the scheduler says before there is a job."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from launcher.checks.probe import OnRow
from launcher.core.checks.row import SLURM, CheckResult, Row, failed, ok, skipped, warning
from launcher.core.profile.model import Profile
from launcher.core.run.paths import RunPaths
from launcher.core.slurm import parse_partition, partition_words
from launcher.core.text.figures import plural
from launcher.errors import LaunchError
from launcher.planning.attempt import plan_attempt
from launcher.process import slurm
from launcher.reading.folders import runs_directory

LOCAL_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"})
"""Those that a cluster does not share, except where somebody exports them."""


def preflight(profile: Profile, on_row: OnRow) -> tuple[Row, ...]:
    """-> every row, in reading order; `on_row` gets each as soon as it is known."""
    checks: dict[str, Callable[[], CheckResult]] = {
        "slurm": _answers,
        "partition": lambda: _partition(profile),
        "batch-job": lambda: _verdict(profile),
        "shared-folder": lambda: _shared(runs_directory()),
    }
    rows: list[Row] = []
    for check, find in checks.items():
        if check in ("partition", "batch-job") and rows[0].state == "failed":
            found = skipped("Slurm does not answer")
        else:
            try:
                found = find()
            except LaunchError as error:
                found = failed(error.message, error.hint)
        rows.append(Row(check, SLURM, found.state, found.text, found.hint, found.fix))
        on_row(rows[-1])
    return tuple(rows)


def _answers() -> CheckResult:
    version = slurm.call("sinfo", "--version").strip()
    slurm.partitions()
    return ok(f"{version} answers")


def _partition(profile: Profile) -> CheckResult:
    name, wanted = profile.slurm.partition, profile.slurm.nodes
    states = [p for p in parse_partition(slurm.partitions(name)) if name or p.is_default]
    if not states:
        known = sorted({p.name for p in parse_partition(slurm.partitions())})
        what = f"no partition {name!r}" if name else "no default partition"
        return failed(what, f"Set slurm.partition to one of: {', '.join(known)}.")
    text = partition_words(states)
    if not states[0].is_up:
        return failed(f"{text}: it takes no jobs", "Choose another slurm.partition, or ask why.")
    usable = sum(p.nodes for p in states if p.is_usable)
    if usable < wanted:
        need = f"{text}; the run needs {plural(wanted, 'node')}"
        return warning(need, "The job waits until enough nodes are up: see `sinfo -R`.")
    return ok(text)


def _verdict(profile: Profile) -> CheckResult:
    """Of a script that differs from the run's only in the name of the run."""
    with tempfile.TemporaryDirectory(prefix="effnet-") as folder:
        root = Path(folder)
        plan = plan_attempt(profile, profile.name, root, 1)
        script = RunPaths(root).batch_script
        content = next(file.content for file in plan.files if file.path == str(script))
        script.write_text(content)
        verdict = slurm.test(str(script))
    if verdict.is_possible:
        return ok(verdict.text)
    return failed(
        verdict.text, "Change [slurm] in the profile: nodes, partition, account, options."
    )


def _shared(folder: Path) -> CheckResult:
    """Only a job can find out; the file system's type is a strong hint."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    kind = _file_system_of(there)
    if kind in LOCAL_FILE_SYSTEMS:
        text = f"{folder} is on {kind}, which this machine does not share by itself"
        return warning(text, "Set EFFNET_RUNS_DIR to a folder that all nodes see under that path.")
    return ok(f"{folder} is on {kind or 'an unknown file system'}")


def _file_system_of(folder: Path) -> str:
    """The type of the mount that a folder is on, from /proc/self/mounts; empty when not known."""
    best, kind = "", ""
    path = os.path.realpath(folder)
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for fields in map(str.split, lines):
        if len(fields) < 3:
            continue
        place = fields[1].replace("\\040", " ")
        is_above = path == place or path.startswith(place.rstrip("/") + "/")
        if is_above and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind
