"""The status of a run as a reader sees it: what its events say, if more of them can come."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.core.run.paths import RunPaths
from launcher.core.run.state import RunState, RunStatus, Silence
from launcher.reading.living import jobs, processes
from launcher.reading.living.answers import Answers
from launcher.reading.living.processes import Link
from launcher.reading.living.queue import shared_queue

START_GRACE_S = 15.0
"""A supervisor that is being started, or replaced, is not lost yet."""

LIVING_EVERY_S = 1.0


class Living:
    """What `status` has found, of one run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._asked_s = -LIVING_EVERY_S
        self._answers = Answers()
        self._has_ranks = False
        self.is_supervised = False
        self.silence: Silence | None = None
        """Of a supervisor that does not answer."""
        self.queue_words = ""
        """Why a run of Slurm waits, or why its job is not known."""

    def status(self, state: RunState, now_s: float) -> RunStatus:
        """``RunState.shown``, or ``lost``; checks processes once a second at most."""
        if state.status.is_over:
            self.is_supervised = self._has_ranks = False
            self.silence, self.queue_words = None, ""
            self._answers.reset()
            return state.status
        self.queue_words, link = "", self.link()
        if state.slurm_job and link is None:
            return self._in_queue(state, link)
        if abs(now_s - self._asked_s) >= LIVING_EVERY_S:
            self._asked_s = now_s
            found = processes.silence_of(self._paths.supervisor, self._answers)
            self.is_supervised, self.silence = found
            if self.is_supervised and self.silence is None and link is not None:
                self.silence = link.silence
            self._has_ranks = not self.is_supervised and processes.has_ranks(state)
        if link is not None:
            # A run on its first node does not need a process here; but what is known gets old.
            if self.is_supervised and state.slurm_job:
                return self._in_queue(state, link)
            self.queue_words = processes.NOT_COPIED if self._is_left(state, now_s) else ""
            return state.shown
        is_known = self.is_supervised or self._has_ranks or _is_fresh(state, now_s)
        return state.shown if is_known else RunStatus.LOST

    def _in_queue(self, state: RunState, link: Link | None) -> RunStatus:
        found = processes.in_queue(state, link)
        self.queue_words = found.words
        if link is None:
            self.is_supervised = found.status is not RunStatus.LOST
        return found.status

    def _is_left(self, state: RunState, now_s: float) -> bool:
        """Whether no process here supervises or copies the run, and none is being started."""
        if self.is_supervised:
            return False
        return self._paths.supervisor.exists() or not _is_fresh(state, now_s)

    def wait(self, state: RunState, now_s: float) -> None:
        """Until the supervisor and Slurm answer, or are known not to."""
        self.status(state, now_s)
        self.jobs(state, now_s)
        if state.slurm_job or any(job.slurm_job for job in jobs.unfinished(state)):
            shared_queue().wait()
        elif self.is_supervised:
            self._answers.wait()
            self._asked_s = -LIVING_EVERY_S

    def is_abandoned(self, state: RunState, now_s: float) -> bool:
        """Whether something of the run is not over, and no process here supervises or copies it."""
        if self.link() is not None and jobs.unfinished(state):
            return processes.supervisor_of(self._paths.supervisor) is None
        return not self.status(state, now_s).is_over and self._is_left(state, now_s)

    def jobs(self, state: RunState, now_s: float) -> Mapping[str, str]:
        """Of each job that is not over, and whose end nobody would write down: why."""
        return jobs.fates(state, self._paths, self.link(), now_s)

    def link(self) -> Link | None:
        """For a run that is on its first node: whether that was reached; None for others."""
        return processes.link_of(self._paths.link) if self._paths.home.is_file() else None


def _is_fresh(state: RunState, now_s: float) -> bool:
    changed_s = state.changed_s
    return changed_s is not None and now_s - changed_s < START_GRACE_S
