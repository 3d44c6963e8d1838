"""job.json: the command of a job, and its runner."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.core.run.paths import RunPaths, job_id
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.core.text.numbers import whole_number
from launcher.errors import RunNotFoundError
from launcher.process import ownership, private
from launcher.store import atomic
from launcher.store.event_log import read_state


@dataclass(frozen=True)
class Job:
    """`pid` and `start_ticks`: the job's runner, on the machine `host`. `folder`: the job's folder
    on a node that SSH reaches, empty for a job on the run's machine; files in `folder`/export are
    copied to `export_to` there. `renamed`: paths in the job's result -> paths on that machine.
    """

    id: str
    type: str
    node: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    created: float
    checkpoint: str = ""
    pid: int = 0
    start_ticks: int = 0
    folder: str = ""
    export_to: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    slurm: str = ""
    """Slurm's number of the job that it is on a compute node."""

    @property
    def is_running(self) -> bool:
        """Whether its runner is there."""
        return ownership.is_alive(self.pid, self.start_ticks)

    def terminate(self) -> bool:
        """Asks its runner to end it. -> whether that is there."""
        runner = ownership.read_process(self.pid)
        if runner is None or runner.start_time != self.start_ticks:
            return False
        return ownership.send_signal(runner, signal.SIGTERM)


def read_job(paths: RunPaths, job: str) -> Job:
    """Raises `RunNotFoundError`."""
    found = read(paths.job(job).job)
    if found is None:
        raise RunNotFoundError(f"{paths.root.name} has no job {job!r}")
    return found


def is_known(paths: RunPaths, job: str) -> bool:
    """Whether an event says that it began, or waits."""
    return any(known.job == job for known in read_state(paths.root).jobs)


def is_over(paths: RunPaths, job: str) -> bool:
    known = (item for item in read_state(paths.root).jobs if item.job == job)
    return any(item.finished_s is not None for item in known)


def read(path: Path) -> Job | None:
    """None when there is none, or it is damaged."""
    try:
        return from_plain(Job, json.loads(path.read_text()))
    except (OSError, ValueError, Mismatch):
        return None


def write(path: Path, job: Job) -> None:
    atomic.write_file(path, json.dumps(to_plain(job), indent=2) + "\n")


def new_folder(paths: RunPaths, kind: str) -> str:
    """A job's folder under the next number; two at once get two numbers. -> the job's id."""
    private.make_folder(paths.jobs)
    while True:
        taken = [whole_number(path.name[:3]) or 0 for path in paths.jobs.iterdir()]
        name = job_id(max(taken, default=0) + 1, kind)
        try:
            paths.job(name).root.mkdir(private.FOLDER_MODE)
        except FileExistsError:
            continue
        return name
