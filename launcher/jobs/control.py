"""Jobs on what a run has trained: eval, export and infer, each in its own folder of the run."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import programs
from launcher.core.run.fold import JobState
from launcher.core.run.paths import RunPaths
from launcher.errors import BusyError, LaunchError, UsageError
from launcher.jobs import command as job_plan
from launcher.jobs.command import JobRequest
from launcher.process import ownership, spawn
from launcher.remote.file_copy import Progress
from launcher.runs import control, delegated
from launcher.store import run as run_files
from launcher.store.event_log import read_state
from launcher.store.job import Job, new_folder, read_job, write_job
from launcher.store.run_lock import is_supervised
from launcher.store.tail import last_lines

START_LIMIT_S = 10.0
END_LIMIT_S = 30.0


def start_job(root: Path, kind: str, *, progress: Progress | None = None, **options: Any) -> str:
    """Starts a job and returns its id when it runs. `options`: those of `JobRequest`.

    `progress` is told what is copied to the job's node. Raises `UsageError`, `CheckpointError`,
    `BusyError` (a rank holds the device), `NodeError`, `LaunchError`.
    """
    if delegated.home_of(root) is not None:
        return _start_at_home(root, kind, progress, options)
    run = run_files.load(root)
    request = JobRequest(kind, **options)
    with job_plan.site_of(run, request) as site:
        name = new_folder(run.paths, kind)
        here = run.paths.job(name).root
        folder = str(here) if site.is_here else f"{site.root}/jobs/{name}"
        try:
            command = job_plan.command_of(run, request, site, folder, progress)
        except BaseException:
            shutil.rmtree(here, ignore_errors=True)  # it never began
            raise
        job = Job(
            id=name,
            type=kind,
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


def stop_job(root: Path, job: str) -> None:
    """Ends a job: SIGTERM, then SIGKILL, for all of its processes. Raises `RunNotFoundError`."""
    if delegated.home_of(root) is not None:
        delegated.ask(root, "run_job_stop", job=job)
        return
    found = read_job(RunPaths(root), job)
    runner = ownership.read_process(found.pid)
    if runner is None or runner.start_time != found.start_ticks:
        raise BusyError(f"job {job} is over already")
    ownership.send_signal(runner, signal.SIGTERM)
    deadline = time.monotonic() + END_LIMIT_S
    while found.is_running and time.monotonic() < deadline:
        time.sleep(0.05)


def wait_for_job(root: Path, job: str) -> JobState:
    """Until the job is over. Raises `LaunchError` when what ran it is gone without a word."""
    paths = RunPaths(root)
    is_elsewhere = delegated.home_of(root) is not None
    while True:
        is_gone = not (is_supervised(root) if is_elsewhere else read_job(paths, job).is_running)
        state = next((item for item in read_state(root).jobs if item.job == job), None)
        if state is not None and state.finished_s is not None:
            return replace(state, result=delegated.result_here(root, state.result))
        if is_gone:
            raise LaunchError(f"job {job} is gone", f"Its log: {paths.job(job).log}")
        time.sleep(0.1)


def _start_at_home(
    root: Path, kind: str, progress: Progress | None, options: dict[str, Any]
) -> str:
    """The run is on its first node, and so are its checkpoints and what it has exported."""
    for name, word in (("file_name", "--name"), ("model", "--model")):
        if os.sep in str(options.get(name, "")):
            raise UsageError(
                f"{word} takes a file's name and no path: the run lives on its first node",
                "Exported files come into the run directory here, below export/.",
            )
    job = str(delegated.ask(root, "run_job", progress, kind=kind, options=options)["job"])
    control.connect_home(root, is_new=True)
    return job


def last_words(root: Path, job: str) -> list[str]:
    return last_lines(RunPaths(root).job(job).log, 15)[0]


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
