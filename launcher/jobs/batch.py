"""`python -m launcher.jobs.batch FILE`: one evaluation, say, as a job of Slurm on a compute node.

FILE is RUN/jobs/ID/job.json, in a folder that all nodes share. It stays in the foreground, writes
there.json when it begins and done.json when it ends, and leaves no process. SIGTERM ends it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

from launcher.jobs import command
from launcher.jobs.runner import run_process
from launcher.process import ownership, private
from launcher.store import atomic, owner
from launcher.store import job as job_files
from launcher.store import run as run_files


def main(argv: list[str] | None = None) -> int:
    path = Path((sys.argv[1:] if argv is None else argv)[0])
    private.apply_umask()
    root = path.parents[2]
    run = run_files.load(root)
    job = job_files.read_job(run.paths, path.parent.name)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
