"""The process of a job, on the machine that it runs on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from launcher.core.plan.orders import ProcessOrder
from launcher.process import guard, ownership, spawn
from launcher.process.log import log_line
from launcher.process.spawn import Exit
from launcher.store.job import Job

TERM_S, KILL_S = 5.0, 5.0
POLL_S = 0.05


def run_process(folder: Path, job: Job) -> int | None:
    """Starts the job's process, waits for it, and ends what it left.

    -> its exit code, 128 + N for signal N; None when it could not be started.
    """
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    guard.become_subreaper()
    order = ProcessOrder(
        role="job",
        argv=job.argv,
        env=job.environment,
        log=str(folder / "log.txt"),
        cwd=str(folder),
        heartbeat=str(folder / "heartbeat"),
    )
    ended: Exit | None = None
    try:
        started = spawn.start(order, job.token, spawn.base_environment(), sys.executable)
    except OSError as error:
        Path(order.log).write_text(f"cannot be started: {error}\n")
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
