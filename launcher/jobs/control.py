"""Jobs on what a run has trained: eval, export and infer, each in its own folder of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator

from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest
from launcher.errors import BusyError
from launcher.jobs import command, runner, slurm_jobs
from launcher.process import file_lock, ownership, private, termination
from launcher.process.uninterrupted import uninterrupted
from launcher.reading.living import jobs as living
from launcher.remote.file_copy import Progress
from launcher.store import job as job_files
from launcher.store import owner
from launcher.store import run as run_files
from launcher.store.job import Job, new_folder, read_job
from launcher.store.run import StoredRun

END_LIMIT_S = 30.0
DIED = "its runner died, in a power cut, say; how the job ended is not known"


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

    Raises `RunNotFoundError`, `BusyError` when it is over, `LaunchError`.
    """
    found = read_job(paths, job)
    token = owner.must_be_mine(paths.root).token_of(f"job-{job}")
    if not _terminate(found, token):
        found = _followed(paths, job, token)
        _terminate(found, token)
    if found.slurm:
        slurm_jobs.cancel(found)
    deadline = time.monotonic() + END_LIMIT_S
    while found.is_running and time.monotonic() < deadline:
        time.sleep(0.05)


def follow_again(paths: RunPaths) -> tuple[str, ...]:
    """Each job whose runner died before the job was over gets another one.

    One that computed on this machine ended with its runner: its end is recorded. -> the ids of
    these jobs. Raises `NotMineError`, `LaunchError`.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):  # there are none, or they are another user's
        names = sorted(os.listdir(paths.jobs))
    lost = [name for name in names if _is_left(paths, name)]
    if not lost:
        return ()
    owned = owner.must_be_mine(paths.root)
    with _only_one(paths):
        # Another client may have been faster.
        lost = [name for name in lost if _is_left(paths, name)]
        tokens = {name: owned.token_of(f"job-{name}") for name in lost}
        return tuple(name for name in lost if _follow(paths, read_job(paths, name), tokens[name]))


def _terminate(job: Job, token: str) -> bool:
    """Asks its runner to end it. -> whether that is there."""
    return ownership.is_watcher(job.pid, token) and job.terminate()


def _followed(paths: RunPaths, name: str, token: str) -> Job:
    """The job, after it got another runner: the first one died with its machine, say."""
    with _only_one(paths):
        job = read_job(paths, name)
        if job.is_running:
            return job  # another client was faster
        runner_of = living.runner_of(paths.job(name).job)
        if runner_of is not None and not runner_of.is_here and not job.slurm:
            raise BusyError(f"job {name} was started on {job.host}", "Stop it there.")
        if job_files.is_over(paths, name) or not _follow(paths, job, token):
            raise BusyError(f"job {name} is over already")
    return read_job(paths, name)


def _is_left(paths: RunPaths, name: str) -> bool:
    """Whether a job is not over and has no runner."""
    known = living.runner_of(paths.job(name).job)
    if known is None or not living.is_lost(known, time.time()):
        return False
    return not job_files.is_over(paths, name)


def _follow(paths: RunPaths, job: Job, token: str) -> bool:
    """Another runner for a job that began. -> False for one that never did."""
    if job.slurm or job.folder:
        if not job.slurm and not job_files.is_known(paths, job.id):
            return False
        secrets = {} if job.slurm else run_files.load(paths.root).profile.secrets_of(job.node)
        runner.start(paths.job(job.id).job, token, secrets)
        return True
    if not job_files.is_known(paths, job.id):
        return False
    termination.end_all(ownership.Claim(token), runner.TERM_S, runner.KILL_S)
    with contextlib.suppress(OSError), paths.job(job.id).log.open("a") as log:
        log.write(f"effnet-launch: {DIED}\n")
    runner.record(paths, job, None)
    return True


@contextlib.contextmanager
def _only_one(paths: RunPaths) -> Iterator[None]:
    """While this process may start other runners of this run. Raises `BusyError`."""
    fd = os.open(paths.jobs / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private.FILE_MODE)
    deadline = time.monotonic() + END_LIMIT_S
    try:
        while not file_lock.try_lock(fd):
            if time.monotonic() > deadline:
                raise BusyError(f"another process starts runners of {paths.root.name}")
            time.sleep(0.05)
        yield
    finally:
        os.close(fd)
