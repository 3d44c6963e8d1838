"""A run whose supervisor is on this machine."""

from __future__ import annotations

import time
from typing import ClassVar

from launcher import programs
from launcher.cleanup import nodes as cleanup
from launcher.cleanup import prune
from launcher.core.messages import Ping
from launcher.core.profile.home import home_of
from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.requests import JobRequest, ResumeRequest
from launcher.errors import BusyError, CheckpointError, NoAnswerError, UsageError
from launcher.jobs import control as jobs
from launcher.planning import checkpoint_choice, restart, settings
from launcher.planning.checkpoint_choice import CheckpointQuery
from launcher.process.uninterrupted import uninterrupted
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodePool
from launcher.runs.base import LEAVE_LIMIT_S, NextAttempt, Run
from launcher.store import job as job_files
from launcher.store import run as run_files
from launcher.store import run_lock
from launcher.supervisor import notice_targets


class LocalRun(Run):
    """See `launcher.runs.base.Run`."""

    program: ClassVar[str] = programs.SUPERVISOR
    program_log: ClassVar[str] = "supervisor.log"

    def next_attempt(self, request: ResumeRequest, profile: Profile | None) -> NextAttempt:
        if profile is not None and (home := home_of(profile)) is not None:
            key = "[slurm.login_node]" if profile.slurm.login_node else 'supervisor = "first-node"'
            raise UsageError(
                f"{self.id} is on this machine, and must stay here:"
                f" the runs of profile {profile.name} are on {home.label}",
                f"Leave out {key}.",
            )
        attempt = super().next_attempt(request, profile)
        run_files.check_secrets(attempt.run.profile)
        if profile is not None:
            notice_targets.check(profile)
        if profile is not None or request.settings:
            # A run as it was started was checked then.
            settings.check(attempt.run.profile, attempt.run.request.settings)
        return attempt

    def check_may_resume(self) -> None:
        self._wait_for_supervisor()
        super().check_may_resume()
        if self.is_supervised:
            try:
                self.request(Ping())
            except NoAnswerError:
                run_lock.end_holder(self.root)
                return
            raise BusyError(f"the supervisor of {self.id} is still cleaning up", "Try again.")

    def resume_choice(self, attempt: NextAttempt) -> ResumeChoice:
        with NodePool() as nodes:
            return checkpoint_choice.choose(attempt.run, self._query(attempt), nodes)

    def resume(
        self, attempt: NextAttempt, nodes: NodePool, progress: Progress | None = None
    ) -> ResumeChoice:
        self.check_may_resume()
        if attempt.request.checkpoint == restart.SCRATCH:
            choice = ResumeChoice(None, "from the beginning, as requested")
        else:
            choice = checkpoint_choice.fetch(attempt.run, self._query(attempt), nodes, progress)
            if choice.path is None:
                hint = "To start from the beginning: --checkpoint scratch"
                raise CheckpointError(f"{self.id}: {choice.why}", hint)
        with uninterrupted():
            if attempt.run != attempt.before:
                run_files.write_edited(attempt.run)
            self.spawn(resume=restart.verified(choice))
        return choice

    def start_job(self, request: JobRequest, progress: Progress | None = None) -> str:
        return jobs.start_job(self.load(), request, progress)

    def stop_job(self, job: str) -> None:
        jobs.stop_job(self.paths, job)

    def follow_jobs(self) -> tuple[str, ...]:
        return jobs.follow_again(self.paths)

    def is_job_followed(self, job: str) -> bool:
        return job_files.read_job(self.paths, job).is_running

    def delete(self, nodes: NodePool, *, here_only: bool = False) -> None:
        prune.delete_run(self.root, nodes, here_only=here_only)

    def end_warm(self) -> bool:
        self._wait_for_supervisor()
        with NodePool() as nodes:
            return cleanup.end_warm(nodes, self.load())

    def _wait_for_supervisor(self) -> None:
        """After a run has ended its supervisor still cleans up."""
        deadline = time.monotonic() + LEAVE_LIMIT_S
        while self.is_supervised and self.state().status.is_over and time.monotonic() < deadline:
            time.sleep(0.05)

    def set_note(self, note: str) -> None:
        run_files.write_note(self.root, note)

    def _query(self, attempt: NextAttempt) -> CheckpointQuery:
        name, before = attempt.request.checkpoint, attempt.before.profile
        return restart.query_of(attempt.run, self.state(), name, before=before)
