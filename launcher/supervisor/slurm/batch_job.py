"""The Slurm job that a supervisor is the batch step of."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.core.plan.slurm import placed
from launcher.core.profile.address import is_loopback
from launcher.core.run import events
from launcher.core.run.events import Failure, FailureKind
from launcher.core.slurm import JobRecord
from launcher.core.text.figures import plural
from launcher.errors import LaunchError, UsageError
from launcher.process import slurm
from launcher.process.log import log_line
from launcher.store.event_log import EventLog
from launcher.store.run import StoredRun
from launcher.supervisor.slurm import lost

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
ANSWER_S = 5.0
"""For a question to slurmctld in the seconds before SIGKILL."""


@dataclass(frozen=True)
class Ending:
    """Why Slurm ends the job. ``again``: why the run is queued again; empty when it is not."""

    by: str
    saves: bool
    again: str = ""
    must_requeue: bool = False
    """Whether Slurm does not queue the job again on its own."""


class BatchJob:
    """The job that this process is the batch step of. Raises `LaunchError`."""

    def __init__(self, environment: dict[str, str]) -> None:
        try:
            self.number = environment["SLURM_JOB_ID"]
            names = slurm.hostnames(environment["SLURM_JOB_NODELIST"])
        except KeyError as error:
            raise UsageError(f"{error.args[0]} is not set", "Only sbatch starts this.") from None
        self.restarts = int(environment.get("SLURM_RESTART_COUNT", "0"))
        self.may_adopt = False
        """Whether a supervisor of this very job was here before."""
        self.ending: Ending | None = None
        self._nodes = addresses(names)
        self._signals: list[int] = []
        self._has_asked = False

    @property
    def host(self) -> str:
        """The address of this node, which is the first one."""
        return self._nodes[0][1]

    def address(self, node: str) -> str:
        """Of a node of the job."""
        return dict(self._nodes)[node]

    def place(self, run: StoredRun) -> StoredRun:
        """The run with the nodes of this job. Raises `UsageError`."""
        asked = len(run.profile.nodes)
        if len(self._nodes) != asked:
            got = len(self._nodes)
            raise UsageError(f"Slurm gave {got} nodes, and the profile has {asked}")
        return replace(run, profile=placed(run.profile, self._nodes))

    def listen(self) -> None:
        """To Slurm's signals, from now on."""
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self._signals.append(number))

    def ignore_signals(self) -> None:
        """All is written: an interpreter that exits would be ended by them."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def new_ending(self, is_failing: bool = False) -> Ending | None:
        """What a signal of Slurm means that has just arrived.

        Slurm signals all processes of all nodes at once, and a rank may be heard of before this
        process gets its own signal: once something died or stopped unasked (`is_failing`),
        slurmctld is asked.
        """
        found: Ending | None = None
        if self.ending is not None and not self.ending.saves:
            self._signals.clear()  # the same end again
        elif not self._signals and is_failing and not self._has_asked and self.ending is None:
            record = self._record()
            if record is not None and record.state != "RUNNING":
                found = self._terminated(record)
        if found is None and self._signals:  # it may have come while slurmctld did not answer
            is_ahead = self._signals.pop(0) == signal.SIGUSR1
            found = self._near_limit() if is_ahead else self._terminated(self._record())
        self._has_asked = is_failing
        if found is not None:
            self.ending = found
            log_line(found.by)
        return found

    def settle(self, log: EventLog) -> None:
        """Ends an attempt that ended with an earlier start of the job."""
        state = log.state
        newest = state.attempt
        if newest is None or self.may_adopt or state.status.is_over or state.status == "pending":
            return
        text = f"Slurm ended job {self.number} and started it again: a node failed, or the job"
        failure = Failure(FailureKind.NODE, f"{text} was preempted or requeued")
        log.add(events.AttemptFailed(newest.attempt, failure))

    def introduce(self, log: EventLog) -> None:
        """Tells the run of its job, where a client was killed before it could."""
        if log.state.slurm_job != self.number:
            log.add(events.SlurmQueued(self.number))

    def queue_again(self, log: EventLog) -> None:
        """After an attempt that Slurm ended."""
        if self.ending is None or not self.ending.again:
            return
        log.add(events.SlurmQueued(self.number, self.ending.again))
        if self.ending.must_requeue:
            self._requeue(log)

    def has_lost_node(self, run: StoredRun, log: EventLog) -> bool:
        """After a failed attempt. Where a node of the job is lost, another job runs on others.

        -> whether that was the cause: the run is queued again, or gives up.
        """
        why = lost.lost_words(log.state, [name for name, _ in self._nodes])
        if not why:
            return False
        count = lost.launches_in_vain(log.state)
        if count >= run.profile.retry.no_progress_limit:
            newest = log.state.attempt
            number = 0 if newest is None else newest.attempt
            log.add(events.GaveUp(number, f"{plural(count, 'attempt')} in a row started no rank"))
        else:
            log.add(events.SlurmQueued(self.number, why))
            self._requeue(log)
        return True

    def _requeue(self, log: EventLog) -> None:
        try:
            slurm.requeue(self.number)
        except LaunchError as error:
            if self._is_queued_again(self._record()):
                return  # Slurm was faster, after a failed prolog, say
            why = f"it could not be queued again: {error.message}"
            log.add(events.SlurmDequeued(self.number, why))

    def _near_limit(self) -> Ending:
        text = f"Slurm (job {self.number} is near its time limit)"
        return Ending(text, True, "it reached its time limit", must_requeue=True)

    def _record(self) -> JobRecord | None:
        """None where slurmctld does not answer."""
        with contextlib.suppress(LaunchError):
            return slurm.job(self.number, ANSWER_S)
        return None

    def _is_queued_again(self, record: JobRecord | None) -> bool:
        return record is not None and (record.restarts > self.restarts or record.is_waiting)

    def _terminated(self, record: JobRecord | None) -> Ending:
        name = f"job {self.number}"
        if self._is_queued_again(record):
            why = "it was preempted or requeued, or a node failed"
            return Ending(f"Slurm ({name} is queued again)", False, why)
        if record is not None and record.reason == "TimeLimit":
            return Ending(f"Slurm ({name} reached its time limit)", False)
        return Ending(f"Slurm ({name} was cancelled: scancel)", False)


def addresses(names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, IP address that the other nodes reach) of each node. Raises `LaunchError`."""
    found = []
    for name in names:
        known = slurm.node_address(name)
        try:
            address = socket.gethostbyname(known)
        except OSError as error:
            text = f"the address of node {name} ({known}) is not known: {error}"
            raise UsageError(text) from None
        found.append((name, address))
    # Some systems resolve their own name to a loopback address.
    others = [address for _, address in found if not is_loopback(address)]
    if others:
        found = [(n, _own_address(others[0]) if is_loopback(a) else a) for n, a in found]
    return found


def _own_address(other: str) -> str:
    """Of the interface that leads to another address; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((other, 9))
        address: str = probe.getsockname()[0]
        return address
