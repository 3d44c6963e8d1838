"""`python -m launcher.supervisor RUN`: one per run. Owns it until all of it has ended.

    python -m launcher.supervisor RUN [--resume auto|scratch|PATH|JSON] [--ready FD]

It takes a lock on the run, so two never own one, puts itself behind everything that could end it
(own session, no terminal), and answers clients on a Unix socket (docs/design/processes.md). Started
on a run that another supervisor left alive, it adopts the agents and catches up. On `--ready` it
writes `ok` or the reason why not. Its parent waits for it, and starts another one if it dies.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from launcher.planning import restart
from launcher.planning.start_point import start_point
from launcher.process.daemon import ReportReady, daemon
from launcher.store import owner
from launcher.store import run as run_files
from launcher.store.event_log import EventLog
from launcher.store.owner import Owner
from launcher.store.run import StoredRun
from launcher.store.run_lock import LOCK_S, acquire
from launcher.supervisor.notifier import Notifier
from launcher.supervisor.slurm.batch_job import BatchJob
from launcher.supervisor.successor import is_left_alone
from launcher.supervisor.supervisor import Supervisor, placed

SUBMIT_S = 60.0


def supervise(
    root: Path, resume: str, report_ready: ReportReady, batch: BatchJob | None = None
) -> int:
    """`batch`: the Slurm job that this process is the batch step of."""
    owned = owner.must_be_mine(root)
    run = placed(run_files.load(root), batch)
    # The client that submitted the job writes its number first.
    lock = acquire(root, SUBMIT_S if batch is not None else LOCK_S)
    run_files.move_secrets(run)
    log = EventLog(run.paths.events)
    with contextlib.closing(Notifier(run, log.state.last_n)) as notifier:
        try:
            return _supervise(run, log, owned, resume, notifier, report_ready, batch)
        finally:
            os.close(lock)  # the last notices may wait for a network; a resume does not


def _supervise(
    run: StoredRun,
    log: EventLog,
    owned: Owner,
    resume: str,
    notifier: Notifier,
    report_ready: ReportReady,
    batch: BatchJob | None,
) -> int:
    if batch is not None:
        batch.settle(log)
    if log.state.status.is_over and not resume and not restart.may_follow(run, log.state):
        log.close()  # the one before died when all was done
        notifier.start()
        report_ready("ok")
        return 0
    point = start_point(run, log.state, resume)
    with contextlib.closing(Supervisor(run, log, owned, batch)) as supervisor:
        supervisor.introduce()
        notifier.start()
        supervisor.begin(point, bool(resume))
        report_ready("ok")
        return supervisor.run()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launcher.supervisor", allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume", default="", help=restart.RESUME_HELP)
    parser.add_argument("--ready", type=int, help="file descriptor to say `ok` or the error on")
    arguments = parser.parse_args(argv)
    root, resume = arguments.run.resolve(), arguments.resume

    def may_restart() -> bool:
        nonlocal resume
        resume = ""  # that attempt has begun
        return is_left_alone(root)

    with daemon(arguments.ready, may_restart) as report_ready:
        return supervise(root, resume, report_ready)


if __name__ == "__main__":
    sys.exit(main())
