"""Jobs that are not over by their events, and whose runner has died: no event would come."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.run.paths import RunPaths
from launcher.core.run.state import JobState, RunState
from launcher.core.text.codec import from_plain
from launcher.process import ownership
from launcher.reading.growing import read_range
from launcher.reading.living.processes import LIMIT_BYTES, NOT_COPIED, Link, supervisor_of
from launcher.reading.living.queue import shared_queue

LEFT = "nothing follows it any more"
START_S = 30.0
"""For the runner of a new job to write its process id."""


@dataclass(frozen=True)
class Runner:
    """What ``job.json`` says of the process that writes a job's events.

    `host`: its machine; earlier versions left it out. `slurm`: Slurm's number of the job.
    """

    pid: int = 0
    start_ticks: int = 0
    host: str = ""
    slurm: str = ""
    created: float = 0.0

    @property
    def is_here(self) -> bool:
        return self.host in ("", socket.gethostname())

    def has_died(self, now_s: float) -> bool:
        """False where nobody can say so on this machine."""
        if not self.pid:
            return now_s - self.created > START_S
        return self.is_here and not ownership.is_alive(self.pid, self.start_ticks)


def runner_of(file: Path) -> Runner | None:
    """From ``job.json``; None where there is none, or it is damaged."""
    try:
        return from_plain(Runner, json.loads(read_range(file, 0, LIMIT_BYTES)))
    except (ValueError, RecursionError):
        return None


def unfinished(state: RunState) -> tuple[JobState, ...]:
    return tuple(job for job in state.jobs if job.finished_s is None)


def is_lost(runner: Runner, now_s: float) -> bool:
    """Whether nobody would write down how its job ends, as far as this machine can know.

    A runner on another login node is told by what Slurm knows, and it would have written soon.
    """
    if runner.is_here or not runner.slurm:
        return runner.has_died(now_s)
    queued, is_known = shared_queue().job(runner.slurm, runner.created)
    return is_known and queued is None


def fates(state: RunState, paths: RunPaths, link: Link | None, now_s: float) -> Mapping[str, str]:
    """Why nobody would write down how a job ends, by its id. `link`: of a copy, whose node looks
    after the jobs.
    """
    found = {}
    for job in unfinished(state):
        if link is None:
            words = _fate(job, runner_of(paths.job(job.job).job), now_s)
        elif supervisor_of(paths.supervisor) is None:
            words = NOT_COPIED
        else:
            words = f"{link.node} can't be reached" if link.trouble else ""
        if words:
            found[job.job] = words
    return found


def with_fates(state: RunState, known: Mapping[str, str]) -> RunState:
    """The state with these words; a job that is over needs none."""
    if not known:
        return state
    jobs = (
        replace(job, lost_words=known.get(job.job, "")) if job.finished_s is None else job
        for job in state.jobs
    )
    return replace(state, jobs=tuple(jobs))


def _fate(job: JobState, runner: Runner | None, now_s: float) -> str:
    if runner is None:
        return ""  # files that were copied from elsewhere
    if not is_lost(runner, now_s):
        return ""
    if not runner.slurm:
        return LEFT
    queued, is_known = shared_queue().job(runner.slurm, job.started_s)
    if not is_known:
        return LEFT
    if queued is None:
        return f"{LEFT}; job {runner.slurm} is not in Slurm's queue any more"
    return f"{LEFT}; {queued.words if queued.is_waiting else f'job {runner.slurm} runs'}"
