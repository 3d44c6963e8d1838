"""Jobs on what a run has trained: eval, export and infer, each in its own folder of the run."""

from __future__ import annotations

import shutil
import time

from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest
from launcher.errors import BusyError
from launcher.jobs import command, runner, slurm_jobs
from launcher.process import ownership
from launcher.process.uninterrupted import uninterrupted
from launcher.remote.file_copy import Progress
from launcher.store import job as job_files
from launcher.store import owner
from launcher.store.job import Job, new_folder, read_job
from launcher.store.run import StoredRun

END_LIMIT_S = 30.0


def start_job(run: StoredRun, request: JobRequest, progress: Progress | None = None) -> str:
    """Starts a job and returns its id when it runs. `progress`: of files that its node needs.

    Raises `UsageError`, `CheckpointError`, `BusyError` (a rank holds the device), `NodeError`,
    `LaunchError`.
    """
    owned = owner.must_be_mine(run.paths.root)
    with command.site_of(run, request) as site:
        name = new_folder(run.paths, request.kind)
        job = Job(
            id=name,
            type=request.kind,
            node=site.node.label,
            argv=(),
            environment=command.environment_of(run, site.node, site.cpus),
            created=time.time(),
            folder="" if site.is_here else f"{site.root}/jobs/{name}",
        )
        try:
            job = command.complete(job, run, request, site, progress)
        except BaseException:
            shutil.rmtree(run.paths.job(name).root, ignore_errors=True)  # it never began
            raise
    job_file = run.paths.job(name).job
    with uninterrupted():
        job_files.write(job_file, job)
        if slurm_jobs.is_submitted(run.profile):
            job = slurm_jobs.submit(run, job, request.node)
        token = owned.token_of(f"job-{name}")
        runner.start(job_file, token, run.profile.secrets_of(job.node))
    return name


def stop_job(paths: RunPaths, job: str) -> None:
    """Ends a job: SIGTERM, then SIGKILL, for all of its processes.

    Raises `RunNotFoundError`, `LaunchError`.
    """
    found = read_job(paths, job)
    token = owner.must_be_mine(paths.root).token_of(f"job-{job}")
    if not ownership.is_watcher(found.pid, token) or not found.terminate():
        if not found.slurm or slurm_jobs.is_over(paths, job):
            raise BusyError(f"job {job} is over already")
        # What followed it died with its login node, say: another one records the end.
        runner.start(paths.job(job).job, token, {})
        found = read_job(paths, job)
        found.terminate()
    if found.slurm:
        slurm_jobs.cancel(found)
    deadline = time.monotonic() + END_LIMIT_S
    while found.is_running and time.monotonic() < deadline:
        time.sleep(0.05)
