"""A run, local or delegated: what both share, and what each implements."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import select
import shlex
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from launcher import programs
from launcher.core.messages import Error, Message, Ping, Stop, TakeStacks
from launcher.core.plan import program
from launcher.core.plan.forks import keep_warm_s
from launcher.core.profile.model import Profile, StartMethod
from launcher.core.profile.spares import with_own_nodes
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import JobRequest, ResumeRequest, StopRequest
from launcher.core.run.state import JobState, RunState, RunStatus
from launcher.errors import BusyError, LaunchError, NoAnswerError, UsageError
from launcher.ipc.channel import AnyMessage, Channel, ChannelClosedError, connect
from launcher.planning.attempt import data_path_of
from launcher.process import spawn
from launcher.process.uninterrupted import uninterrupted
from launcher.remote.file_copy import Progress
from launcher.remote.node_client import NodePool
from launcher.store import run as run_files
from launcher.store import run_lock
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun

READY_LIMIT_S = 60.0
REPLY_LIMIT_S = 60.0
"""For a supervisor that answers pings: it may have to reach another machine."""
ANSWER_LIMIT_S = 10.0
STACKS_LIMIT_S = 20.0
LEAVE_LIMIT_S = 20.0
POLL_S = 0.1


OnQueue = Callable[[str], object]


@dataclass(frozen=True)
class NextAttempt:
    """What a resume is about to do. ``profile``: the edited one, if there is one."""

    request: ResumeRequest
    profile: Profile | None
    before: StoredRun
    run: StoredRun
    """The run as the attempt has it."""


class Run(ABC):
    """A run directory on this machine, from `launcher.runs.handle.open_run`."""

    program: ClassVar[str]
    """The module of the process that holds the run's lock here."""
    program_log: ClassVar[str]

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = RunPaths(root)

    @property
    def id(self) -> str:
        return self.root.name

    def load(self) -> StoredRun:
        """Raises `RunNotFoundError`, and `LaunchError` when it is damaged."""
        return run_files.load(self.root)

    def state(self) -> RunState:
        return read_state(self.root)

    @property
    def is_supervised(self) -> bool:
        """Whether a process on this machine holds the run's lock."""
        return run_lock.is_supervised(self.root)

    def stop(self, request: StopRequest, by: str = "") -> int:
        """Asks the supervisor to end the run, which verifies the end.

        A supervisor that died or does not answer is replaced. -> pid of one that did not answer,
        or 0. Raises `BusyError` when the run is over, `LaunchError`.
        """
        state = self.state()
        if state.status is RunStatus.FAILED and self.is_supervised:
            # Its supervisor may be preparing an automatic attempt.
            with contextlib.suppress(LaunchError):
                self.request(Stop(request.save, by or caller()))
                return 0
        if state.status.is_over:
            if keep_warm_s(self.load().profile) and self.end_warm():
                return 0
            raise BusyError(f"{self.id} is {state.status.value} already")
        return self.give(Stop(request.save, by or caller()))[1]

    @abstractmethod
    def end_warm(self) -> bool:
        """Ends what a failed run keeps for its next attempt. -> whether there was anything."""

    def take_stacks(self) -> None:
        """Asks the supervisor for the stacks of all ranks; returns when they are stored.

        Raises `BusyError` when the run is over, `LaunchError`.
        """
        state = self.state()
        if state.status.is_over:
            raise BusyError(f"{self.id} is {state.status.value}: no rank runs")
        before = state.attempt and state.attempt.stacks
        self.give(TakeStacks(by=caller()))
        until = time.monotonic() + STACKS_LIMIT_S
        while time.monotonic() < until:
            attempt = self.state().attempt
            if attempt is not None and attempt.stacks not in (None, before):
                return
            time.sleep(POLL_S)
        raise NoAnswerError(
            f"no stacks of {self.id} came within {STACKS_LIMIT_S:g} s",
            f"See the supervisor's log: effnet-launch logs {self.id} --supervisor",
        )

    def next_attempt(self, request: ResumeRequest, profile: Profile | None) -> NextAttempt:
        """`profile` is the edited one of the request. Raises `SettingsError`, `UsageError`."""
        before = self.load()
        if profile is not None:
            _check_slurm(self.id, before.profile, profile)
        if request.take_back:
            if profile is None and not before.profile.left_out:
                raise UsageError(f"{self.id} has left out no node", "Resume without --take-back.")
            profile = with_own_nodes(profile or before.profile)
        if profile is not None:
            # One that was read from a run has no values where the run's supervisor is elsewhere.
            profile = profile.with_secrets(before.profile.secrets)
            profile = program.edited(profile, before.profile, before.request.program)
        now = profile or before.profile
        changes = request
        if request.data_path or now.data_path != before.profile.data_path:
            changes = replace(request, data_path=data_path_of(now, request.data_path))
        return NextAttempt(request, profile, before, run_files.edited(before, changes, profile))

    def check_may_resume(self) -> None:
        """Raises `BusyError` for a run that is not over, or has finished."""
        status = self.state().status
        if not status.is_over:
            hint = f"Stop it first: effnet-launch stop {self.id}"
            raise BusyError(f"{self.id} is {status.value}", hint)
        if status is RunStatus.FINISHED:
            raise BusyError(
                f"{self.id} has finished: nothing is left to train",
                f"For more epochs start a new run: {shlex.join(self.load().info.command)}",
            )

    @abstractmethod
    def resume_choice(self, attempt: NextAttempt) -> ResumeChoice:
        """The checkpoint that `resume` would use, and why. Verifies sha256, and copies nothing.

        Raises `NodeError`.
        """

    @abstractmethod
    def resume(
        self, attempt: NextAttempt, nodes: NodePool, progress: Progress | None = None
    ) -> ResumeChoice:
        """Starts the attempt. A checkpoint on another machine than rank 0's is copied there.

        Raises `BusyError`, `CheckpointError`, `PlanError`, `NodeError`.
        """

    @abstractmethod
    def start_job(self, request: JobRequest, progress: Progress | None = None) -> str:
        """Starts a job; -> its id when it runs.

        Raises `UsageError`, `CheckpointError`, `BusyError` (a rank holds the device), `NodeError`,
        `LaunchError`.
        """

    @abstractmethod
    def stop_job(self, job: str) -> None:
        """Ends all processes of a job. Raises `RunNotFoundError`, `BusyError` when it is over."""

    @abstractmethod
    def follow_jobs(self) -> tuple[str, ...]:
        """Jobs whose runner died get another one, or their end is recorded. -> their ids.

        Raises `LaunchError`.
        """

    @abstractmethod
    def is_job_followed(self, job: str) -> bool:
        """Whether a process here will record how the job ends."""

    def job_result(self, state: JobState) -> JobState:
        """The job with paths as they are on this machine."""
        return state

    def wait_for_job(self, job: str, on_queue: OnQueue = lambda words: None) -> JobState:
        """Until the job is over. A runner that died is replaced once. Raises `LaunchError`.

        `on_queue`: gets why it waits in Slurm's queue, and each new reason.
        """
        words, may_follow = "", True
        while True:
            is_followed = self.is_job_followed(job)
            state = next((item for item in self.state().jobs if item.job == job), None)
            if state is not None and state.is_waiting and state.queue_words != words:
                words = state.queue_words
                on_queue(words)
            if state is not None and state.finished_s is not None:
                return self.job_result(state)
            if not is_followed and may_follow:
                may_follow = False
                self.follow_jobs()
            elif not is_followed:
                log = self.paths.job(job).log
                raise LaunchError(f"the runner of job {job} died", f"Its log: {log}")
            time.sleep(POLL_S)

    @abstractmethod
    def delete(self, nodes: NodePool, *, here_only: bool = False) -> None:
        """Removes the run directory with its checkpoints, on its nodes first.

        Raises `BusyError` while a process of it lives, `NodeError` when a node can't be reached:
        then the folder here stays, so that the user can try again.
        """

    @abstractmethod
    def set_note(self, note: str) -> None:
        """Changes why the run was made. Raises `LaunchError`."""

    def connect(self, *, is_new: bool = False) -> None:  # noqa: B027 nothing to do for a local run
        """Brings the copy of a delegated run up to date and keeps it so. Raises `LaunchError`.

        `is_new`: something was just started on the node of a run that is over in the copy.
        """

    def ensure_supervised(self) -> bool:
        """Replaces a supervisor that died before its run was over. -> whether it did.

        Raises `LaunchError` when this user cannot own the run.
        """
        if self.state().status.is_over or self.is_supervised:
            return False
        try:
            self.spawn()
        except BusyError:
            return False  # another client was faster
        return True

    def spawn(self, resume: str = "") -> None:
        """Starts the supervisor and waits until it owns the run. Raises `LaunchError`."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        log_file = self.root / self.program_log
        argv = [*programs.command(self.program), str(self.root)]
        argv += ["--ready", str(spawn.INHERITED_FD)]
        if resume:
            argv += ["--resume", resume]
        try:
            pid = spawn.detached(argv, log_file, write_end)
        finally:
            os.close(write_end)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)  # it goes into the background at once
        try:
            answer = _read_answer(read_end)
        finally:
            os.close(read_end)
        if answer is None:
            text = f"the supervisor is not ready after {READY_LIMIT_S:g} s"
            raise NoAnswerError(text, f"Its log: {log_file}")
        if answer != "ok":
            message = answer or f"the supervisor exited at once; its log: {log_file}"
            raise BusyError(message) if "another supervisor" in answer else LaunchError(message)

    def give(self, message: Message) -> tuple[AnyMessage, int]:
        """A request that a new supervisor gets when the one that is there does not answer.

        A supervisor that is ended loses nothing: its agents and ranks continue, and the next one
        reads what it missed. -> (reply, pid of the one that did not answer, or 0).
        """
        self.ensure_supervised()
        try:
            return self.request(message), 0
        except NoAnswerError:
            pid = run_lock.end_holder(self.root)
            self.ensure_supervised()
            return self.request(message), pid

    def request(self, message: Message) -> AnyMessage:
        """One request to the supervisor. Raises `NoAnswerError`, `LaunchError`."""
        try:
            channel = self._connect(time.monotonic() + ANSWER_LIMIT_S)
            try:
                channel.send(Ping())
                channel.wait(ANSWER_LIMIT_S)
                with uninterrupted():
                    channel.send(message)
                    reply = channel.wait(REPLY_LIMIT_S)[0]
            finally:
                channel.close()
        except (OSError, ValueError, KeyError, ChannelClosedError, TimeoutError) as error:
            raise NoAnswerError(
                f"the supervisor of {self.id} does not answer: {error}",
                f"To end the run: effnet-launch stop {self.id} --no-save",
            ) from error
        if isinstance(reply, Error):
            raise LaunchError(f"the supervisor of {self.id} refused: {reply.text}")
        return reply

    def _connect(self, deadline: float) -> Channel:
        """One that has just started does not listen yet. Raises as `json.loads` and `connect`."""
        while True:
            try:
                return connect(json.loads(self.paths.supervisor.read_text())["socket"])
            except (OSError, ValueError, KeyError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)


def _check_slurm(run: str, before: Profile, after: Profile) -> None:
    """Its supervisor cannot move into a job, or out of one."""
    was, will_be = (item.start_method is StartMethod.SLURM for item in (before, after))
    if was != will_be:
        raise UsageError(
            f"{run} is {'' if was else 'not '}a run of Slurm, and cannot change that:"
            f' profile {after.name} has start_method = "{after.start_method.value}"',
            f"Start a new run: effnet-launch start {after.name} --resume CHECKPOINT",
        )


def caller() -> str:
    """User, machine and program, for the event."""
    program = os.path.basename(sys.argv[0] or "python")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()} ({program})"


def _read_answer(fd: int) -> str | None:
    """Empty when the process ended without one; None when it took too long."""
    deadline = time.monotonic() + READY_LIMIT_S
    data = b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        block = os.read(fd, 1 << 16)
        if not block:
            return data.decode("utf-8", "replace")
        data += block
    return None
