"""`python -m launcher.shell.job RUN JOB`: runs one job to its end and leaves nothing of it.

SIGTERM ends the job's processes. Events, `result.json` and the exit code tell how it went.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.core import events
from launcher.core.paths import RunPaths
from launcher.shell import jobs, ownership, processes, run_files, warden
from launcher.shell.event_log import EventLog
from launcher.shell.orders import ProcessOrder
from launcher.shell.processes import Exit
from launcher.shell.say import say
from launcher.shell.supervisor import detach
from launcher.shell.tail import last_lines

TERM_S, KILL_S = 5.0, 5.0
POLL_S = 0.05
RESULT_LINES = 50


def run_job(paths: RunPaths, job: jobs.Job) -> int:
    """Starts the job's process, waits for it, and ends what it left."""
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    warden.become_subreaper()
    files = paths.job(job.id)
    order = ProcessOrder(
        role="job",
        argv=job.argv,
        env=job.environment,
        log=str(files.log),
        cwd=str(files.root),
        heartbeat=str(files.root / "heartbeat"),
    )
    ended: Exit | None = None
    try:
        started = processes.start(order, job.token, processes.base_environment(), sys.executable)
    except OSError as error:
        files.log.write_text(f"cannot be started: {error}\n")
        _finish(paths, job, None)
        return 0
    while ended is None and not stop:
        time.sleep(POLL_S)
        ended = next((item for item in processes.reap() if item.pid == started.pid), None)
    claim = ownership.Claim(job.token, ((started.pid, started.start_ticks),), os.getpid())
    reaped: list[Exit] = []
    left = ownership.end_all(claim, TERM_S, KILL_S, lambda: reaped.extend(processes.reap()))
    reaped.extend(processes.reap())
    ended = ended or next((item for item in reaped if item.pid == started.pid), None)
    if left:
        say(f"processes still there: {left}")
    _finish(paths, job, ended)
    return 0


def _finish(paths: RunPaths, job: jobs.Job, ended: Exit | None) -> None:
    """result.json, then the event: whoever sees the event finds the file."""
    code = None if ended is None else ended.exit_code
    if ended is not None and ended.signal is not None:
        code = 128 + ended.signal
    result = _result_in(paths.job(job.id).log) if code == 0 else None
    if result is not None:
        run_files.write_file(paths.job(job.id).result, json.dumps(result, indent=2) + "\n")
    log = EventLog(paths.events)
    if result is not None and job.type == "eval":
        fields = {key: result.get(key) for key in ("loss", "top_1_acc", "top_5_acc", "images")}
        log.add(events.EvalFinished, job=job.id, **fields)
    log.add(events.JobFinished, job=job.id, exit_code=code, result=result)
    log.close()


def _result_in(log: Path) -> dict[str, Any] | None:
    """The last line of the log that is a JSON object."""
    for line in reversed(last_lines(log, RESULT_LINES)[0]):
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
    return None


def main(argv: list[str] | None = None) -> int:
    root, name = sys.argv[1:] if argv is None else argv
    paths = RunPaths(Path(root))
    detach()
    me = ownership.read_process(os.getpid())
    job = jobs.read_job(paths, name)
    job = replace(job, pid=os.getpid(), start_ticks=me.start_time if me else 0)
    log = EventLog(paths.events)
    log.add(events.JobStarted, job=job.id, type=job.type, node=job.node, argv=job.argv)
    log.close()
    jobs.write_job(paths, job)
    return warden.stand_over(
        job.token, lambda: run_job(paths, job), lambda status, left: _finish(paths, job, None)
    )


if __name__ == "__main__":
    sys.exit(main())
