"""Runs whose supervisor is on this node: the operations that `launcher.runs.delegated` calls.

Each does what the same command does on this machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.checks import slurm_doctor
from launcher.checks.preflight import Preflight
from launcher.core import messages
from launcher.core.checks.row import Row
from launcher.core.profile.home import at_home
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.profile.secrets import Secrets
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.paths import RunPaths
from launcher.core.run.requests import ResumeRequest
from launcher.core.run.state import RunStatus
from launcher.core.text.codec import to_plain
from launcher.core.text.records import decode, encode
from launcher.errors import LaunchError, NodeError, UsageError
from launcher.ipc import run_operations as op
from launcher.ipc.operations import CopyProgress, Handlers
from launcher.node import stdio
from launcher.planning import attempt
from launcher.reading.folders import RUNS_VARIABLE, runs_directory
from launcher.reading.living import processes as living
from launcher.reading.living.answers import Answers
from launcher.reading.living.queue import shared_queue
from launcher.reading.run import RunReader
from launcher.remote.node_client import NodePool
from launcher.remote.sync import FileSource
from launcher.runs.handle import open_here
from launcher.runs.local import LocalRun
from launcher.runs.start import checked, plan_run, start_run
from launcher.store import atomic, owner
from launcher.store import job as job_files

POLL_S = 0.2
SUPERVISED_EVERY_S = 5.0
"""How often a supervisor that died is replaced."""


def connect_nodes(request: op.ConnectNodes) -> str:
    """Connects to the other nodes, with this user's keys and known hosts. -> the runs folder."""
    profile = _profile(request.profile)
    with _from_here(profile), NodePool() as nodes:
        attempt.introduce(profile, nodes)
    runs = request.runs_directory
    return os.path.expanduser(runs) if runs else str(runs_directory())


def check_nodes(request: op.CheckNodes) -> tuple[Row, ...]:
    """The rows of a preflight from this machine."""
    with NodePool() as nodes:
        profile = _at_login(_profile(request.profile, request.secrets))
        settings = request.settings
        return Preflight(profile, nodes, data_path=request.data_path, settings=settings).run()


def plan(request: op.PlanRun) -> str:
    return plan_run(_at_login(_profile(request.profile)), request.request).to_json()


def examine(request: op.ExamineNodes) -> tuple[Row, ...]:
    return slurm_doctor.examine(_at_login(_profile(request.profile)), lambda row: None)


def start(request: op.StartRun) -> None:
    os.environ[RUNS_VARIABLE] = request.runs
    if RunPaths(Path(request.runs, request.run)).home.exists():
        raise UsageError(
            f"{request.runs} on this node is the runs folder of the machine that starts the run",
            "Give one of them another: EFFNET_RUNS_DIR there, or runs_directory of the node.",
        )
    profile = _profile(request.profile, request.secrets)
    named = replace(request.request, name=request.run)
    with _from_here(profile), NodePool() as nodes:
        start_run(profile, checked(profile, named), nodes, request.command)


def send(request: op.SendToRun) -> dict[str, Any]:
    """Replaces a supervisor that died or does not answer."""
    return encode(_run(request).give(decode(messages.Message, request.message))[0])


def choose_checkpoint(request: op.ChooseCheckpoint) -> op.Chosen:
    run = _run(request)
    choice = run.resume_choice(run.next_attempt(*_resume(request)))
    return op.Chosen(choice, atomic.digests())


def resume(request: op.ResumeRun) -> ResumeChoice:
    run = _run(request)
    with NodePool() as nodes:
        return run.resume(run.next_attempt(*_resume(request)), nodes, _progress)


def start_job(request: op.StartRunJob) -> str:
    run, job = _run(request), request.request
    if job.file_name:
        job = replace(job, file_name=str(run.paths.export / job.file_name))
    return run.start_job(job, _progress)


def delete(request: op.DeleteRun) -> None:
    if Path(request.root).is_dir():
        with NodePool() as nodes:
            _run(request).delete(nodes)


def follow(request: op.FollowRun) -> None:
    """Sends the run directory as it grows, until nothing of the run is alive."""
    if not Path(request.root).is_dir():
        raise LaunchError(f"there is no {request.root}: the run was removed")
    run = _run(request)
    source = FileSource(run.root, request.known)
    listener = stdio.Listener()
    check_at, is_in_step = 0.0, False
    reader, answers = RunReader(run.root), Answers()
    while True:
        if time.monotonic() >= check_at:
            check_at = time.monotonic() + SUPERVISED_EVERY_S
            with contextlib.suppress(LaunchError):
                _keep_supervised(run, reader)
        is_over = not _is_living(run, reader)
        began = time.monotonic()
        is_idle = True
        for message in source.read():
            is_idle = False
            stdio.send(message)
            listener.wait()
        took_s = time.monotonic() - began
        if is_idle and is_over:
            return
        if not is_in_step and not source.is_behind:
            is_in_step = True
            stdio.send({"type": "alive", "is_in_step": True})
        if listener.is_alive_due:
            silent, queue = None, None
            if (state := reader.poll_state()).slurm_job:
                queue = shared_queue().look(state)
            elif (silence := living.silence_of(run.paths.supervisor, answers)[1]) is not None:
                silent = op.Silent(silence.pid, time.time() - silence.since_s)
            listener.send_alive(
                is_in_step=not source.is_behind, silent=to_plain(silent), queue=to_plain(queue)
            )
        # At most a tenth of the time goes into many files.
        listener.wait(max(POLL_S, 10 * took_s) if is_idle else 0.0)


def _keep_supervised(run: LocalRun, reader: RunReader) -> None:
    """Of a run of Slurm only once its job is gone: a command of Slurm may keep this process, and
    with it the copy, waiting for longer than the client waits for a sign of life.
    """
    state = reader.poll_state()
    if not state.slurm_job or shared_queue().look(state).status is RunStatus.LOST:
        run.ensure_supervised()
    run.follow_jobs()


def _is_living(run: LocalRun, reader: RunReader) -> bool:
    """Whether the run or one of its jobs can still change."""
    if run.is_supervised:
        return True
    state = reader.poll_state()
    unfinished = [job.job for job in state.jobs if job.finished_s is None]
    files = [job_files.read(run.paths.job(name).job) for name in unfinished]
    is_job_running = any(job is not None and job.is_running for job in files)
    return not state.status.is_over or is_job_running


def _progress(name: str, done: int, size: int) -> None:
    stdio.send({"type": "progress", **to_plain(CopyProgress(name, done, size))})


def _run(request: op.OnRun[Any]) -> LocalRun:
    """Raises `NotMineError`."""
    root = Path(request.root)
    owner.must_be_mine(root, runs=root.parent)
    return open_here(root)


def _profile(text: str, secrets: Secrets | None = None) -> Profile:
    return at_home(profile_from_json(text).with_secrets(secrets or {}))


def _at_login(profile: Profile) -> Profile:
    """The same, after its login node's runs folder became that of this process."""
    login = profile.slurm.login_node
    if login is not None and login.runs_directory:
        os.environ[RUNS_VARIABLE] = os.path.expanduser(login.runs_directory)
    return profile


def _resume(request: op.OnResume[Any]) -> tuple[ResumeRequest, Profile | None]:
    atomic.remember(request.digests)
    profile = _profile(request.profile, request.secrets) if request.profile else None
    return request.request, profile


@contextlib.contextmanager
def _from_here(profile: Profile) -> Iterator[None]:
    """Adds to a `NodeError` that this machine could not reach the node."""
    first = profile.nodes[0].label
    hint = (
        f"The supervisor runs on {first}, so {first} must reach the other nodes with its own keys"
        f" and known hosts: log in from {first} to each of them once."
    )
    try:
        yield
    except NodeError as error:
        text = f"from {first}: {error.message}"
        raise NodeError(error.node, text, f"{hint} {error.hint}".strip()) from error


HANDLERS: Handlers = {
    op.ConnectNodes: connect_nodes,
    op.CheckNodes: check_nodes,
    op.PlanRun: plan,
    op.ExamineNodes: examine,
    op.StartRun: start,
    op.SendToRun: send,
    op.ChooseCheckpoint: choose_checkpoint,
    op.ResumeRun: resume,
    op.StartRunJob: start_job,
    op.StopRunJob: lambda request: _run(request).stop_job(request.job),
    op.SetNote: lambda request: _run(request).set_note(request.note),
    op.EndWarm: lambda request: _run(request).end_warm(),
    op.DeleteRun: delete,
    op.FollowRun: follow,
}
