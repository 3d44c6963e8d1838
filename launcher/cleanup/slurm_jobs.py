"""Jobs of ours in Slurm's queue that no run knows of: found by the path of their batch script.

Slurm keeps that path, and `launcher.store.owner` knows the run directories of this user, also those
that were removed. A job's name proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.run.paths import RunPaths
from launcher.core.slurm import SubmittedJob
from launcher.errors import LaunchError
from launcher.ipc.operations import Leftover
from launcher.process import slurm, tools
from launcher.store import job as job_files
from launcher.store import owner
from launcher.store.event_log import read_state
from launcher.store.run_lock import is_supervised

KIND = "job"
ANSWER_S = 10.0
GONE_S = 30.0
POLL_S = 0.2
SUBMIT_S = 120.0
"""For a client that submits an evaluation, say, to write its number."""


def find() -> tuple[tuple[Leftover, ...], str]:
    """What is left in the queue, and why Slurm could not be asked; empty where it could."""
    if tools.program("squeue", os.environ) is None:
        return (), ""
    roots = {Path(item.path) for item in owner.all_owners()}
    # A copy's jobs are those of the machine that has the run.
    roots = {root for root in roots if not os.path.exists(RunPaths(root).home)}
    if not roots:
        return (), ""
    try:
        jobs = slurm.submitted(os.getuid(), ANSWER_S)
    except LaunchError as error:
        is_used = any(os.path.exists(RunPaths(root).batch_script) for root in roots)
        return (), f"Slurm was not asked: {error.message}" if is_used else ""
    return tuple(without_run(jobs, roots)), ""


def end(strays: Collection[Leftover]) -> tuple[Leftover, ...]:
    """Cancels those that are still left. -> what stays in the queue."""
    numbers = {stray.job for stray in strays if stray.kind == KIND}
    if not numbers:
        return ()
    found, trouble = find()
    if trouble:
        return tuple(stray for stray in strays if stray.kind == KIND)
    deadline = time.monotonic() + GONE_S
    left = tuple(stray for stray in found if stray.job in numbers)
    for stray in left:
        if time.monotonic() < deadline:
            with contextlib.suppress(LaunchError):  # one that has just ended, or it stays in `left`
                slurm.cancel(stray.job)
    try:
        while left and time.monotonic() < deadline:
            jobs = {item.job: item for item in slurm.submitted(os.getuid(), ANSWER_S)}
            left = tuple(s for s in left if s.job in jobs and not jobs[s.job].is_ending)
            time.sleep(POLL_S if left else 0.0)
    except LaunchError:
        return left
    return left


@dataclass(frozen=True)
class _Script:
    """The batch script of a run, or of an evaluation, say: then with that one's id."""

    root: Path
    job: str = ""

    @property
    def name(self) -> str:
        """What the job is called."""
        return f"{self.root.name}/{self.job}" if self.job else self.root.name


def without_run(jobs: Collection[SubmittedJob], roots: Collection[Path]) -> Iterator[Leftover]:
    """Those of the jobs that are of these run directories, and that no run knows of."""
    for job in jobs:
        script = _script_of(Path(job.command), roots)
        if script is None or job.is_ending:
            continue
        why = _why_left(job, script)
        if why:
            yield Leftover(KIND, f"{job.words}; {why}", script.name, job=job.job)


def _script_of(path: Path, roots: Collection[Path]) -> _Script | None:
    """Whose script it is, if it is one of these run directories'."""
    if not path.is_absolute() or path.name != RunPaths(path.parent).batch_script.name:
        return None
    # Slurm has the path as it was given, and that of a run directory has no symbolic links.
    path = Path(os.path.realpath(path.parent), path.name)
    if path.parent in roots and path == RunPaths(path.parent).batch_script:
        return _Script(path.parent)
    if len(path.parts) < 4 or (root := path.parents[2]) not in roots:
        return None
    name = path.parent.name
    return _Script(root, name) if path == RunPaths(root).job(name).batch_script else None


def _why_left(job: SubmittedJob, script: _Script) -> str:
    """Why no run knows of it; empty where one does, or may be about to."""
    root = script.root
    if _is_missing(RunPaths(root).run) and _is_missing(RunPaths(root).events):
        # Nobody can know that where its file system is not mounted, say.
        return "its run directory was removed" if os.path.isdir(root.parent) else ""
    if script.job:
        folder = RunPaths(root).job(script.job)
        known = job_files.read(folder.job)
        if known is None:
            return "its folder was removed" if _is_missing(folder.root) else ""
        if not known.slurm and time.time() - known.created < SUBMIT_S:
            return ""
        if known.slurm != job.job:
            return "its run does not know of it"
        is_over = job_files.is_over(RunPaths(root), script.job)
        return "it is over for its run" if is_over and job.is_waiting else ""
    if is_supervised(root):
        return ""  # also while a client submits it
    state = read_state(root)
    if not state.last_n and not _is_empty(RunPaths(root).events):
        return ""  # it cannot be read
    if state.slurm_job != job.job:
        return "its run does not know of it"
    is_over = state.status.is_over and job.is_waiting
    return f"its run is {state.status.value}" if is_over else ""


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return _is_missing(path)
