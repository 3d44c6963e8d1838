"""`python -m launcher.jobs.remote_runner FOLDER`: a job on another node than its run's.

The folder has `there.json`, the job. It continues when the connection breaks; how it ended is in
`done.json`, which is written last. SIGTERM ends the job's processes.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from launcher.jobs.process import run_process
from launcher.process import guard, ownership
from launcher.process.spawn import detach
from launcher.store import atomic
from launcher.store import job as job_files

JOB_FILE, DONE_FILE = "there.json", "done.json"


def main(argv: list[str] | None = None) -> int:
    folder = Path((sys.argv[1:] if argv is None else argv)[0])
    job = job_files.read(folder / JOB_FILE)
    if job is None:
        print(f"{folder / JOB_FILE} cannot be read", file=sys.stderr)
        return 2
    detach()
    me = ownership.read_process(os.getpid())
    job = replace(job, pid=os.getpid(), start_ticks=me.start_time if me else 0)
    job_files.write(folder / JOB_FILE, job)

    def done(code: int | None) -> int:
        atomic.write_file(folder / DONE_FILE, json.dumps({"exit_code": code}) + "\n")
        return 0

    return guard.run_guarded(
        job.token, lambda: done(run_process(folder, job)), lambda status, left: _ignore(done(None))
    )


def _ignore(_: int) -> None:
    """A callback's answer that nobody wants."""


if __name__ == "__main__":
    sys.exit(main())
