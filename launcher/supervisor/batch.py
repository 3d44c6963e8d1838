"""`python -m launcher.supervisor.batch RUN`: the supervisor as the batch step of a Slurm job.

    python -m launcher.supervisor.batch RUN [--resume auto|scratch|PATH|JSON]

It stays in the foreground: the job lasts as long as it does. Slurm's signals end the attempt: ahead
of the time limit (SIGUSR1) the ranks save and the job is queued again; scancel, a preemption and
`scontrol requeue` (SIGTERM) leave a few seconds only. A job that starts again resumes the run.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from launcher.core.run.state import RunStatus
from launcher.planning.restart import AGAIN, RESUME_HELP
from launcher.process.daemon import daemon
from launcher.store.event_log import read_state
from launcher.supervisor.__main__ import supervise
from launcher.supervisor.slurm.batch_job import SIGNALS, BatchJob
from launcher.supervisor.successor import is_left_alone


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launcher.supervisor.batch", allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume", default="", help=RESUME_HELP)
    arguments = parser.parse_args(argv)
    root, resume = arguments.run.resolve(), arguments.resume
    is_first = True

    def may_restart() -> bool:
        nonlocal is_first
        is_first = False
        if read_state(root).status is RunStatus.PENDING:
            return False  # the job is queued again, and Slurm ends this one
        return is_left_alone(root)

    with daemon(None, may_restart, passed_on=SIGNALS) as report_ready:
        job = BatchJob(dict(os.environ))
        job.listen()
        job.may_adopt = not is_first
        if not is_first:
            resume = ""
        elif job.restarts and read_state(root).attempt is not None:
            resume = AGAIN
        try:
            return supervise(root, resume, report_ready, job)
        finally:
            job.ignore_signals()


if __name__ == "__main__":
    sys.exit(main())
