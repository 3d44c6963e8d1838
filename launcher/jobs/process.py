"""The process of a job and its runner, on the machine that it runs on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from launcher.core.plan.model import PlannedProcess, Role
from launcher.errors import LaunchError
from launcher.process import guard, ownership, spawn
from launcher.process.log import log_line
from launcher.process.spawn import Exit
from launcher.store import job as job_files
from launcher.store.job import Job

TERM_S, KILL_S = 5.0, 5.0
POLL_S = 0.05
START_LIMIT_S = 10.0


def run_process(folder: Path, job: Job) -> int | None:
    """Starts the job's process, waits for it, and ends what it left.

    -> its exit code, 128 + N for signal N; None when it could not be started.
    """
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    guard.become_subreaper()
    process = PlannedProcess(
        role=Role.JOB,
        node=job.node,
        argv=job.argv,
        environment=job.environment,
        log=str(folder / "log.txt"),
        heartbeat=str(folder / "heartbeat"),
    )
    ended: Exit | None = None
    try:
        started = spawn.start(process, job.token)
    except OSError as error:
        Path(process.log).write_text(f"cannot be started: {error}\n")
        return None
    while ended is None and not stop:
        time.sleep(POLL_S)
        ended = next((item for item in spawn.reap() if item.pid == started.pid), None)
    claim = ownership.Claim(job.token, ((started.pid, started.start_ticks),), os.getpid())
    reaped: list[Exit] = []
    left = ownership.end_all(claim, TERM_S, KILL_S, lambda: reaped.extend(spawn.reap()))
    reaped.extend(spawn.reap())
    ended = ended or next((item for item in reaped if item.pid == started.pid), None)
    if left:
        log_line(f"processes still there: {left}")
    if ended is None or ended.signal is None:
        return None if ended is None else ended.exit_code
    return 128 + ended.signal


def spawn_runner(job_file: Path, token: str, program: str, *arguments: str) -> None:
    """Starts the process that runs a job; returns when it has put itself into `job_file`.

    Raises `LaunchError`.
    """
    log_file = job_file.parent / "runner.log"
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        pid = spawn.detached([sys.executable, "-m", program, *arguments], log, watches=token)
    finally:
        os.close(log)
    os.waitpid(pid, 0)  # it goes into the background at once
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        job = job_files.read(job_file)
        if job is not None and job.pid:
            return
        time.sleep(0.01)
    raise LaunchError("the job does not start", f"Its log: {log_file}")
