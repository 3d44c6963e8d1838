"""A run whose supervisor is on this machine."""

from __future__ import annotations

import time
from typing import ClassVar

from launcher import programs
from launcher.cleanup import prune
from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.requests import JobRequest, ResumeRequest
from launcher.core.run.state import RunStatus
from launcher.errors import BusyError, CheckpointError
from launcher.jobs import control as jobs
from launcher.planning import checkpoint_choice, restart, settings
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodePool
from launcher.runs.base import LEAVE_LIMIT_S, Preflight, Run, edited
from launcher.store import job as job_files
from launcher.store import run as run_files
from launcher.store.run import StoredRun


class LocalRun(Run):
    """See `launcher.runs.base.Run`."""

    program: ClassVar[str] = programs.SUPERVISOR
    program_log: ClassVar[str] = "supervisor.log"

    def resume_choice(self, request: ResumeRequest, profile: Profile | None) -> ResumeChoice:
        stored, run = self._edited(request, profile)
        wanted = restart.wanted_of(run, self.state(), request.checkpoint, before=stored.profile)
        with NodePool() as nodes:
            return checkpoint_choice.choose(run, wanted, nodes)

    def resume(
        self,
        request: ResumeRequest,
        profile: Profile | None,
        nodes: NodePool,
        progress: Progress | None = None,
        preflight: Preflight | None = None,
    ) -> ResumeChoice:
        stored, run = self._edited(request, profile)
        self._wait_for_supervisor_to_leave()
        state = self.state()
        if self.is_supervised or not state.status.is_over:
            hint = f"Stop it first: effnet-launch stop {self.id}"
            raise BusyError(f"{self.id} is {state.status.value}", hint)
        if state.status is RunStatus.FINISHED:
            raise BusyError(
                f"{self.id} has finished: nothing is left to train",
                f"For more epochs start a new run: effnet-launch start {stored.info.profile}",
            )
        if preflight is not None:
            preflight(run.profile, run.request.settings, run.request.data_path)
        if request.checkpoint == restart.SCRATCH:
            choice = ResumeChoice(None, "from the beginning, as requested")
        else:
            wanted = restart.wanted_of(run, state, request.checkpoint, before=stored.profile)
            choice = checkpoint_choice.fetch(run, wanted, nodes, progress)
            if choice.path is None:
                hint = "To start from the beginning: --checkpoint scratch"
                raise CheckpointError(f"{self.id}: {choice.why}", hint)
        if run != stored:
            run_files.write_edited(run)
        self.spawn(resume=restart.verified(choice))
        return choice

    def start_job(self, request: JobRequest, progress: Progress | None = None) -> str:
        return jobs.start_job(self.load(), request, progress)

    def stop_job(self, job: str) -> None:
        jobs.stop_job(self.paths, job)

    def is_job_followed(self, job: str) -> bool:
        return job_files.read_job(self.paths, job).is_running

    def delete(self, *, here_only: bool = False) -> None:
        prune.delete_run(self.root, here_only=here_only)

    def set_note(self, note: str) -> None:
        run_files.write_note(self.root, note)

    def _edited(
        self, request: ResumeRequest, profile: Profile | None
    ) -> tuple[StoredRun, StoredRun]:
        """(the run as it is, as its next attempt has it). Raises `SettingsError`."""
        stored = self.load()
        run = edited(stored, request, profile)
        if profile is not None or request.settings:
            # A run as it was started was checked then.
            settings.check(run.profile, run.request.settings)
        return stored, run

    def _wait_for_supervisor_to_leave(self) -> None:
        """After a run has ended its supervisor still cleans up: a resume waits for it."""
        deadline = time.monotonic() + LEAVE_LIMIT_S
        while self.is_supervised and self.state().status.is_over and time.monotonic() < deadline:
            time.sleep(0.05)
