"""Slurm's queue as clients see it: one `squeue` for all runs, asked in a thread."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.core.run.state import RunState, RunStatus
from launcher.core.slurm import QueuedJob
from launcher.errors import LaunchError
from launcher.process import slurm

EVERY_S = 3.0
WAIT_S = 10.0


@dataclass(frozen=True)
class InQueue:
    """A run of Slurm that is not over: ``words`` say what a person should know of its job."""

    status: RunStatus
    words: str = ""

    def for_copy(self, state: RunState) -> InQueue:
        """The same for the copy of a run, whose `state` may be newer or older than this."""
        is_pending = state.status is RunStatus.PENDING
        if self.status is RunStatus.LOST or (self.status is RunStatus.PENDING and is_pending):
            return self
        return replace(self, status=shown(state))


def shown(state: RunState) -> RunStatus:
    """The status of a run whose job does not wait: one that is still pending has just begun."""
    return RunStatus.STARTING if state.status is RunStatus.PENDING else state.shown


class SlurmQueue:
    """The newest answer of `squeue`; `poll` asks again in a thread when that is old."""

    def __init__(self) -> None:
        self._jobs: Mapping[str, QueuedJob] | None = None
        self._trouble = ""
        self._asked_s = 0.0
        """Unix time at which the newest answer was asked for."""
        self._asked_at = -EVERY_S
        self._thread: threading.Thread | None = None

    def poll(self) -> None:
        is_busy = self._thread is not None and self._thread.is_alive()
        if not is_busy and time.monotonic() - self._asked_at >= EVERY_S:
            self._asked_at = time.monotonic()
            self._thread = threading.Thread(target=self._ask, name="squeue", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Until the answer to the newest `poll` is there, but not for long."""
        if self._thread is not None:
            self._thread.join(WAIT_S)

    def look(self, state: RunState) -> InQueue:
        """Where a run is whose `state` has a job, as far as Slurm has said."""
        self.poll()
        # An answer that is older than the newest event may not know the job yet.
        found, is_known = self.job(state.slurm_job, state.changed_s or 0.0)
        if self._trouble:
            return InQueue(state.shown, f"Slurm does not answer: {self._trouble}")
        if not is_known:
            return InQueue(state.shown)
        if found is None:
            return InQueue(
                RunStatus.LOST, f"job {state.slurm_job} is not in Slurm's queue any more"
            )
        is_again = found.is_ending and state.status is RunStatus.PENDING
        if not found.is_waiting and not is_again:
            return InQueue(shown(state))
        again = f"; queued again because {state.slurm_why}" if state.slurm_why else ""
        return InQueue(RunStatus.PENDING, found.words + again)

    def job(self, number: str, since_s: float) -> tuple[QueuedJob | None, bool]:
        """A job that was submitted before `since_s` (Unix time), and whether Slurm has answered
        since then.
        """
        self.poll()
        if self._trouble or self._jobs is None or self._asked_s <= since_s:
            return None, False
        return self._jobs.get(number), True

    def _ask(self) -> None:
        asked_s = time.time()
        try:
            self._jobs, self._trouble = slurm.queue(os.getuid()), ""
        except LaunchError as error:
            self._trouble = error.message
        self._asked_s = asked_s


@functools.cache
def shared_queue() -> SlurmQueue:
    """One for all runs that this process reads."""
    return SlurmQueue()
