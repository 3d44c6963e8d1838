"""`python -m launcher.jobs.batch FILE`: one evaluation, say, as a job of Slurm on a compute node.

FILE is RUN/jobs/ID/job.json, in a folder that all nodes share. It stays in the foreground, writes
there.json when it begins and done.json when it ends, and leaves no process. SIGTERM ends it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

from launcher.core.run.paths import RunPaths
from launcher.errors import LaunchError
from launcher.jobs import command
from launcher.jobs.runner import run_process
from launcher.process import ownership, private
from launcher.process.log import log_line
from launcher.store import atomic, owner
from launcher.store import job as job_files
from launcher.store import run as run_files
from launcher.store.job import Job

NUMBER_S = 60.0
"""For Slurm's number of this job to be written on the login node."""
POLL_S = 0.2


def main(argv: list[str] | None = None) -> int:
    path = Path((sys.argv[1:] if argv is None else argv)[0])
    private.apply_umask()
    root = path.parents[2]
    run = run_files.load(root)
    try:
        job = _my_job(run.paths, path.parent.name)
    except LaunchError as error:
        log_line(str(error))
        return 1
    token = owner.must_be_mine(root).token_of(f"job-{job.id}")
    node = run.profile.nodes[0]
    os.environ |= {**run.profile.secrets_of(node.label), ownership.WATCHES: token}
    files = run.paths.job(job.id)
    cpus = len(os.sched_getaffinity(0))
    job = replace(
        job,
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        # What the login node has put there counts its own processors.
        environment=command.environment_of(run, node, cpus),
    )
    job_files.write(files.there, job)
    code = run_process(files.root, job, token)
    atomic.write_file(files.done, json.dumps({"exit_code": code}) + "\n")
    return 1 if code is None else code


def _my_job(paths: RunPaths, name: str) -> Job:
    """Raises `LaunchError` where nobody follows it: sbatch, say, did not say that it has it."""
    number, until = os.environ.get("SLURM_JOB_ID", ""), time.monotonic() + NUMBER_S
    while not (job := job_files.read_job(paths, name)).slurm and time.monotonic() < until:
        time.sleep(POLL_S)
    if job.slurm != number:
        raise LaunchError(f"{name} is job {job.slurm or 'none'} of Slurm, not job {number}")
    return job


if __name__ == "__main__":
    sys.exit(main())
