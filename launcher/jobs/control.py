"""Jobs on what a run has trained: eval, export and infer, each in its own folder of the run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

from launcher import programs
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest
from launcher.errors import BusyError, LaunchError
from launcher.jobs import command as job_plan
from launcher.process import ownership, spawn
from launcher.remote.file_copy import Progress
from launcher.store.job import Job, new_folder, read_job, write_job
from launcher.store.run import StoredRun

START_LIMIT_S = 10.0
END_LIMIT_S = 30.0


def start_job(run: StoredRun, request: JobRequest, progress: Progress | None = None) -> str:
    """Starts a job and returns its id when it runs. `progress` gets what is copied to its node.

    Raises `UsageError`, `CheckpointError`, `BusyError` (a rank holds the device), `NodeError`,
    `LaunchError`.
    """
    with job_plan.site_of(run, request) as site:
        name = new_folder(run.paths, request.kind)
        here = run.paths.job(name).root
        folder = str(here) if site.is_here else f"{site.root}/jobs/{name}"
        try:
            command = job_plan.command_of(run, request, site, folder, progress)
        except BaseException:
            shutil.rmtree(here, ignore_errors=True)  # it never began
            raise
        job = Job(
            id=name,
            type=request.kind,
            node=site.node.label,
            argv=command.argv,
            environment=job_plan.environment_of(run, site),
            token=f"{run.info.id}/job-{name}",
            created=time.time(),
            checkpoint=command.checkpoint,
            folder="" if site.is_here else folder,
            export_to=command.export_to,
            renamed=command.renamed,
        )
    write_job(run.paths, job)
    _spawn(run.paths, name)
    return name


def stop_job(paths: RunPaths, job: str) -> None:
    """Ends a job: SIGTERM, then SIGKILL, for all of its processes. Raises `RunNotFoundError`."""
    found = read_job(paths, job)
    runner = ownership.read_process(found.pid)
    if runner is None or runner.start_time != found.start_ticks:
        raise BusyError(f"job {job} is over already")
    ownership.send_signal(runner, signal.SIGTERM)
    deadline = time.monotonic() + END_LIMIT_S
    while found.is_running and time.monotonic() < deadline:
        time.sleep(0.05)


def _spawn(paths: RunPaths, name: str) -> None:
    runner_log = paths.job(name).root / "runner.log"
    log = os.open(runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        argv = [sys.executable, "-m", programs.JOB, str(paths.root), name]
        pid = spawn.detached(argv, log)
    finally:
        os.close(log)
    os.waitpid(pid, 0)  # it goes into the background at once
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if read_job(paths, name).pid:
            return
        time.sleep(0.01)
    raise LaunchError(f"job {name} does not start", f"Its log: {runner_log}")
