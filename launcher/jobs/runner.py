"""`python -m launcher.jobs.runner RUN JOB`: runs one job to its end and leaves nothing of it.

SIGTERM ends the job's processes. Events, `result.json` and the exit code tell how it went. A job on
a node that SSH reaches is run there by `launcher.jobs.remote_runner`, and followed from here.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.core.run import events
from launcher.core.run.paths import RunPaths
from launcher.jobs import follower
from launcher.jobs.process import run_process
from launcher.process import guard, ownership
from launcher.process.spawn import detach
from launcher.store import atomic
from launcher.store import job as job_files
from launcher.store.event_log import EventLog
from launcher.store.job import Job
from launcher.store.tail import last_lines


def run_job(paths: RunPaths, job: Job) -> int:
    """The whole of it, here or there."""
    if job.folder:
        _finish(paths, job, follower.run(paths, job))
    else:
        _finish(paths, job, run_process(paths.job(job.id).root, job))
    return 0


def _finish(paths: RunPaths, job: Job, code: int | None) -> None:
    """result.json, then the event: a reader of the event finds the file."""
    lines, _ = last_lines(paths.job(job.id).log, job_files.RESULT_LINES)
    result = job_files.result_in(lines) if code == 0 else None
    if result is not None:
        for name, value in result.items():
            result[name] = _renamed(value, job) if isinstance(value, str) else value
        atomic.write_file(paths.job(job.id).result, json.dumps(result, indent=2) + "\n")
    log = EventLog(paths.events)
    if result is not None and job.type == "eval":
        keys = ("loss", "top_1_acc", "top_5_acc", "images")
        fields: dict[str, Any] = {key: result.get(key) for key in keys}
        log.add(events.EvalFinished(job=job.id, **fields))
    log.add(events.JobFinished(job=job.id, exit_code=code, result=result))
    log.close()


def _renamed(text: str, job: Job) -> str:
    for there, here in job.renamed.items():
        text = here + text.removeprefix(there) if text.startswith(there) else text
    return text


def _died(paths: RunPaths, job: Job) -> None:
    if job.folder:
        follower.stop(paths, job)
    _finish(paths, job, None)


def main(argv: list[str] | None = None) -> int:
    root, name = sys.argv[1:] if argv is None else argv
    paths = RunPaths(Path(root))
    detach()
    me = ownership.read_process(os.getpid())
    job = job_files.read_job(paths, name)
    job = replace(job, pid=os.getpid(), start_ticks=me.start_time if me else 0)
    log = EventLog(paths.events)
    log.add(events.JobStarted(job=job.id, type=job.type, node=job.node, argv=job.argv))
    log.close()
    job_files.write_job(paths, job)
    return guard.run_guarded(
        job.token, lambda: run_job(paths, job), lambda status, left: _died(paths, job)
    )


if __name__ == "__main__":
    sys.exit(main())
