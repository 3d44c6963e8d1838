"""A run of Slurm: submitted here, supervised by its batch step; both see its directory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from launcher.core.messages import Accepted, Message, Stop
from launcher.core.run import events
from launcher.core.run.events import Failure, FailureKind
from launcher.core.run.state import RunStatus
from launcher.errors import BusyError, NoAnswerError
from launcher.ipc.channel import AnyMessage, Channel
from launcher.ipc.endpoint import read_address
from launcher.planning import attempt
from launcher.process import slurm
from launcher.remote.node_client import NodePool
from launcher.runs.base import POLL_S, REPLY_LIMIT_S, caller
from launcher.runs.local import LocalRun
from launcher.store import atomic, owner, run_lock
from launcher.store.event_log import EventLog

GIVE_LIMIT_S = 0.8 * REPLY_LIMIT_S
"""A client on another machine waits for `REPLY_LIMIT_S`. Slurm's `KillWait` is 30 s by default."""


class SlurmRun(LocalRun):
    """See `launcher.runs.base.Run`."""

    def spawn(self, resume: str = "") -> None:
        """Submits the batch job, and writes its number into the events."""
        run, request = self.load(), self.load().request
        plan = attempt.plan_attempt(
            run.profile,
            run.info.id,
            self.root,
            1,
            resume=resume,
            data_path=request.data_path,
            settings=request.settings,
        )
        script = next(file for file in plan.files if file.path == str(self.paths.batch_script))
        atomic.write_file(self.paths.batch_script, script.content, script.mode)
        with self._events() as log:
            job = slurm.submit(script.path)
            if log.state.last_n == 0:
                info = run.info
                log.add(events.RunCreated(info.id, info.profile, info.world_size))
            log.add(events.SlurmQueued(job))

    def ensure_supervised(self) -> bool:
        """A job that ended before its supervisor could say so: how it ended is recorded."""
        state = self.state()
        if state.status.is_over or not state.slurm_job:
            return False
        record = slurm.job(state.slurm_job)
        if record is not None and not record.is_over:
            return False
        ended = record.end_words(state.slurm_job) if record is not None else ""
        self._settle(ended or f"job {state.slurm_job} ended; Slurm does not know it any more")
        return False

    def _cancel_waiting(self, stop: Stop) -> bool:
        """Cancels a job that waits in the queue. -> whether it waited."""
        job = self.state().slurm_job
        record = slurm.job(job) if job else None
        if record is None or not record.is_waiting:
            return False
        slurm.cancel(job)
        self._settle(f"cancelled in the queue by {stop.by or caller()}")
        return True

    def give(self, message: Message) -> tuple[AnyMessage, int]:
        """A job that waits is cancelled by a stop; so is one whose supervisor does not answer."""
        until = time.monotonic() + GIVE_LIMIT_S
        state = self.state()
        silent: NoAnswerError | None = None
        if state.status is not RunStatus.PENDING and not state.status.is_over:
            # Its supervisor answers where slurmctld does not.
            try:
                return self.request(message), 0
            except NoAnswerError as error:
                silent = error
        if not state.status.is_over and isinstance(message, Stop) and self._cancel_waiting(message):
            return Accepted(0), 0
        self.ensure_supervised()
        state = self.state()
        if state.status.is_over:
            raise BusyError(f"{self.id} is {state.status.value} already")
        if state.status is RunStatus.PENDING and not isinstance(message, Stop):
            raise BusyError(f"{self.id} waits in Slurm's queue: no rank runs")
        try:
            if silent is None:
                return self.request(message), 0
        except NoAnswerError as error:
            silent = error
        if not isinstance(message, Stop):
            raise silent
        slurm.cancel(state.slurm_job)
        while not self.state().status.is_over and time.monotonic() < until:
            time.sleep(POLL_S)
            self.ensure_supervised()
        raise NoAnswerError(
            f"{silent.message}; its job {state.slurm_job} was cancelled",
            f"See: effnet-launch status {self.id}",
        ) from silent

    def delete(self, nodes: NodePool, *, here_only: bool = False) -> None:
        if not self.state().status.is_over:
            self.ensure_supervised()
        if not self.state().status.is_over:
            raise BusyError(f"{self.id} is not over", f"effnet-launch stop {self.id}")
        super().delete(nodes, here_only=here_only)

    def _settle(self, why: str) -> None:
        """Writes the end of a run whose job has ended; one that is supervised does it itself."""
        with contextlib.suppress(BusyError), self._events() as log:
            state = log.state
            if state.status is RunStatus.PENDING or state.attempt is None:
                log.add(events.SlurmDequeued(state.slurm_job, why))
            elif not state.status.is_over:
                failure = Failure(FailureKind.NODE, why, time=time.time())
                log.add(events.AttemptFailed(state.attempt.attempt, failure))

    @contextlib.contextmanager
    def _events(self) -> Iterator[EventLog]:
        """The event log, while no supervisor has it. Raises `BusyError`."""
        lock = run_lock.acquire(self.root)
        try:
            with contextlib.closing(EventLog(self.paths.events)) as log:
                yield log
        finally:
            os.close(lock)

    def _connect(self, deadline: float) -> Channel:
        """Through the gate of the supervisor, which is on a node of the job."""
        secret = owner.must_be_mine(self.root).token
        while True:
            file = self.paths.supervisor
            address = read_address(file) if atomic.is_there(file) else None
            try:
                if address is None or not address.port:
                    raise ConnectionError("it has not said where it is")
                return address.connect_through(secret)
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)
