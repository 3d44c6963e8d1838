"""Jobs of a run of Slurm that compute on a node of their own: submitted, followed, cancelled.

The runner on the login node submits nothing itself and computes nothing: it reads what the job
writes into its folder, which all nodes share, and asks Slurm why it waits.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher.core.plan.slurm import job_script
from launcher.core.profile.model import JobPlace, Profile, StartMethod
from launcher.core.run import events
from launcher.core.run.paths import JobPaths, RunPaths
from launcher.core.slurm import JobRecord, QueuedJob
from launcher.errors import LaunchError
from launcher.process import guard, slurm
from launcher.process.log import log_line
from launcher.store import atomic
from launcher.store import job as job_files
from launcher.store.event_log import EventLog, read_state
from launcher.store.job import Job
from launcher.store.run import StoredRun

ASK_S = 3.0
"""Between two questions to slurmctld."""
POLL_S = 0.2
FILES_S = 10.0
"""For the last files of the job to appear on this machine."""
END_S = 60.0
"""For Slurm to say how a job ended: it may have to end other processes of it first."""
STOPPED = 128 + signal.SIGTERM


def is_submitted(profile: Profile) -> bool:
    """Whether the jobs of its runs are jobs of Slurm."""
    is_slurm = profile.start_method is StartMethod.SLURM
    return is_slurm and profile.slurm.jobs is JobPlace.COMPUTE


def submit(run: StoredRun, job: Job, node: str) -> Job:
    """-> the job with Slurm's number, in its file too. Raises `SlurmError`: then it never was."""
    paths = run.paths.job(job.id)
    python = run.profile.nodes[0].python or sys.executable
    script = job_script(run.profile, run.paths, job.id, python, node)
    try:
        atomic.write_file(paths.batch_script, script.content, script.mode)
        job = replace(job, slurm=slurm.submit(script.path))
    except BaseException:
        shutil.rmtree(paths.root, ignore_errors=True)
        raise
    job_files.write(paths.job, job)
    return job


def cancel(job: Job) -> None:
    """Raises `SlurmError`; what follows the job repeats it until Slurm answers."""
    try:
        slurm.cancel(job.slurm)
    except slurm.SlurmError as error:
        hint = f"Job {job.id} is cancelled as soon as Slurm answers."
        raise slurm.SlurmError(error.message, hint) from error


def follow(paths: RunPaths, job: Job) -> int | None:
    """Until it is over. -> the exit code; None when it is unknown. SIGTERM cancels it."""
    signals: list[int] = []
    guard.on_term(lambda: signals.append(signal.SIGTERM))
    return _Following(paths, job, signals).run()


class _Following:
    def __init__(self, paths: RunPaths, job: Job, signals: list[int]) -> None:
        self._paths = paths
        self._files = paths.job(job.id)
        self._job = job
        self._signals = signals
        self._has_begun = any(
            known.job == job.id and not known.is_waiting for known in read_state(paths.root).jobs
        )
        self._why = ""
        self._trouble = ""

    def run(self) -> int | None:
        ask_at = 0.0
        self._waits(QueuedJob(self._job.slurm, "PENDING").words)
        while not self._files.done.exists():
            self._look_for_begin()
            now = time.monotonic()
            if now >= ask_at:
                ask_at = now + ASK_S
                if self._is_done():
                    break
                record, is_known = self._ask()
                if is_known and (record is None or record.is_over):
                    break
            time.sleep(POLL_S)
        self._wait_until(self._is_done, FILES_S)
        self._look_for_begin()
        code = _exit_code(self._files)
        if self._signals:
            return STOPPED if code is None else code
        if code in (None, STOPPED):
            self._say_why()
        return code

    def _is_done(self) -> bool:
        return atomic.is_there(self._files.done)

    def _look_for_begin(self) -> None:
        if self._has_begun or (there := job_files.read(self._files.there)) is None:
            return
        self._has_begun = True
        self._add(events.JobStarted(there.id, there.type, there.node, there.argv))

    def _ask(self) -> tuple[JobRecord | None, bool]:
        """-> what Slurm knows of the job, and whether it has answered."""
        try:
            record = slurm.job(self._job.slurm)
            if self._signals and record is not None and not record.is_over:
                slurm.cancel(self._job.slurm)
                record = slurm.job(self._job.slurm)
        except LaunchError as error:
            if error.message != self._trouble:
                log_line(error.message)
            self._trouble = error.message
            self._waits(f"Slurm does not answer: {error.message}")
            return None, False
        if record is not None and record.is_waiting:
            self._waits(QueuedJob(self._job.slurm, record.state, record.reason).words)
        return record, True

    def _waits(self, why: str) -> None:
        if not self._has_begun and why != self._why:
            self._why = why
            job = self._job
            self._add(events.JobQueued(job.id, job.type, job.slurm, why, argv=job.argv))

    def _say_why(self) -> None:
        """Slurm has ended it: its log says how."""
        number = self._job.slurm
        record: JobRecord | None = None

        def is_over() -> bool:
            nonlocal record
            record, is_known = self._ask()
            return is_known and (record is None or record.is_over)

        self._wait_until(is_over, END_S)
        words = f"Slurm does not know job {number} any more"
        if record is not None:
            words = record.end_words(number)
            if record.state == "FAILED":
                words += f"; what it printed: {self._files.runner_log}"
        log_line(words)
        with contextlib.suppress(OSError), self._files.log.open("a") as log:
            log.write(f"effnet-launch: {words}\n")

    def _wait_until(self, is_true: Callable[[], bool], limit_s: float) -> None:
        until = time.monotonic() + limit_s
        while not is_true() and time.monotonic() < until and not self._signals:
            time.sleep(POLL_S)

    def _add(self, event: events.Event) -> None:
        with contextlib.closing(EventLog(self._paths.events)) as log:
            log.add(event)


def _exit_code(files: JobPaths) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        code = json.loads(Path(files.done).read_text()).get("exit_code")
        return code if isinstance(code, int) else None
    return None
