"""`python -m launcher.jobs.runner FILE`: runs one job to its end and leaves no process of it.

FILE is the job: RUN/jobs/ID/job.json, or FOLDER/there.json on another node than the run's. There
the job does not need the connection, and its exit code is written to done.json. On the run's
machine a job of another node is followed from here, and events, result.json and the exit code are
written. SIGTERM ends the job's processes. `EFFNET_WATCHES` in its environment is their token.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import programs
from launcher.core.plan.model import PlannedProcess, Role
from launcher.core.profile.secrets import reveal
from launcher.core.run import events
from launcher.core.run.paths import RunPaths
from launcher.errors import LaunchError
from launcher.jobs import follower, slurm_jobs
from launcher.process import guard, ownership, private, spawn, termination
from launcher.process.log import log_line
from launcher.process.spawn import Exit
from launcher.reading.log import LAST_BYTES, LogReader
from launcher.store import atomic
from launcher.store import job as job_files
from launcher.store.event_log import EventLog
from launcher.store.job import Job

THERE_FILE, DONE_FILE = "there.json", "done.json"
RESULT_LINES = 50
TERM_S, KILL_S = 5.0, 5.0
POLL_S = 0.05
START_LIMIT_S = 30.0
"""Beside eight ranks, or on a slow file server, it needs long for its imports."""


def start(job_file: Path, token: str, secrets: Mapping[str, str]) -> None:
    """Starts the runner of a job; returns when it has put its pid into `job_file`.

    It has the values that `job_file` leaves out in its own environment.

    Raises `LaunchError`.
    """
    log = job_file.parent / "runner.log"
    before = job_files.read(job_file)
    argv = [*programs.command(programs.JOB), str(job_file)]
    pid = spawn.detached(argv, log, watches=token, secrets=secrets)
    os.waitpid(pid, 0)  # it goes into the background at once
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        job = job_files.read(job_file)
        if job is not None and job.pid and not _is_same_runner(job, before):
            return
        time.sleep(0.01)
    raise LaunchError("the job does not start", f"Its log: {log}")


def _is_same_runner(job: Job, before: Job | None) -> bool:
    """A job of Slurm gets another runner where the first one died."""
    return before is not None and (job.pid, job.start_ticks) == (before.pid, before.start_ticks)


def run_process(folder: Path, job: Job, token: str) -> int | None:
    """Starts the job's process, waits for it, and ends all that it started.

    -> its exit code, 128 + N for signal N; None when it could not be started.
    """
    stop: list[int] = []
    guard.on_term(lambda: stop.append(signal.SIGTERM))
    guard.become_subreaper()
    process = PlannedProcess(
        role=Role.JOB,
        node=job.node,
        argv=job.argv,
        environment=reveal(job.environment, os.environ),
        log=str(folder / "log.txt"),
        heartbeat=str(folder / "heartbeat"),
    )
    try:
        started = spawn.start(process, token)
    except OSError as error:
        Path(process.log).write_text(f"cannot be started: {error}\n")
        return None
    exits: dict[int, Exit] = {}

    def reap() -> None:
        exits.update((item.pid, item) for item in spawn.reap())

    while started.pid not in exits and not stop:
        time.sleep(POLL_S)
        reap()
    claim = ownership.Claim(token, ((started.pid, started.start_ticks),), os.getpid())
    left = termination.end_all(claim, TERM_S, KILL_S, reap)
    reap()
    if left:
        log_line(f"processes that SIGKILL did not end: {left}")
    ended = exits.get(started.pid)
    if ended is None or ended.signal is None:
        return None if ended is None else ended.exit_code
    return 128 + ended.signal


def record(paths: RunPaths, job: Job, code: int | None) -> None:
    """Writes result.json, then the event: a reader of the event finds the file."""
    if job_files.is_over(paths, job.id):
        return  # another login node has followed it, too
    result = _last_json_object(LogReader(paths.job(job.id).log)) if code == 0 else None
    if result is not None:
        for name, value in result.items():
            result[name] = _renamed(value, job) if isinstance(value, str) else value
        atomic.write_file(paths.job(job.id).result, json.dumps(result, indent=2) + "\n")
    with contextlib.closing(EventLog(paths.events)) as log:
        if result is not None and job.type == "eval":
            keys = ("loss", "top_1_acc", "top_5_acc", "images")
            fields: dict[str, Any] = {key: result.get(key) for key in keys}
            log.add(events.EvalFinished(job=job.id, **fields))
        log.add(events.JobFinished(job=job.id, exit_code=code, result=result))


def _last_json_object(log: LogReader) -> dict[str, Any] | None:
    for line in reversed(log.tail(RESULT_LINES, LAST_BYTES).lines):
        with contextlib.suppress(ValueError):
            value = json.loads(line.text)
            if isinstance(value, dict):
                return value
    return None


def _renamed(text: str, job: Job) -> str:
    for there, here in job.renamed.items():
        text = here + text.removeprefix(there) if text.startswith(there) else text
    return text


def main(argv: list[str] | None = None) -> int:
    path = Path((sys.argv[1:] if argv is None else argv)[0])
    job = job_files.read(path)
    if job is None:
        print(f"{path} cannot be read", file=sys.stderr)
        return 2
    private.apply_umask()
    token = os.environ[ownership.WATCHES]
    spawn.detach()
    me = ownership.read_process(os.getpid())
    ticks = me.start_time if me else 0
    job = replace(job, pid=os.getpid(), start_ticks=ticks, host=socket.gethostname())
    paths, is_there = RunPaths(path.parents[2]), path.name == THERE_FILE
    is_followed = bool(job.folder) and not is_there
    if not is_there and not job.slurm and not job_files.is_known(paths, job.id):
        with contextlib.closing(EventLog(paths.events)) as log:
            log.add(events.JobStarted(job=job.id, type=job.type, node=job.node, argv=job.argv))
    guard.hold_term()  # who reads this file may send it at once
    job_files.write(path, job)

    def run() -> int:
        if job.slurm:
            finish(slurm_jobs.follow(paths, job))
        elif is_followed:
            finish(follower.run(paths, job, token))
        else:
            finish(run_process(path.parent, job, token))
        return 0

    def finish(code: int | None) -> None:
        if is_there:
            atomic.write_file(path.parent / DONE_FILE, json.dumps({"exit_code": code}) + "\n")
        else:
            record(paths, job, code)

    if guard.run_guarded(token, run) is None:
        return 0
    if job.slurm:
        with contextlib.suppress(LaunchError):
            slurm_jobs.cancel(job)
    elif is_followed:
        follower.stop(paths, job)
    finish(None)
    return 1


if __name__ == "__main__":
    sys.exit(main())
