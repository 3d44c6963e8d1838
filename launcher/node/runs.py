"""Runs that live on this node while their users are elsewhere: what `launcher.runs.delegated` asks.

Each operation does what the same command does here, and its answer is what that prints.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.checks.preflight import Preflight
from launcher.core import messages
from launcher.core.checks.row import Row
from launcher.core.profile import model
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.requests import ResumeRequest
from launcher.core.text.codec import to_plain
from launcher.core.text.records import decode, encode
from launcher.errors import LaunchError, NodeError
from launcher.ipc import operations as op
from launcher.node import stdio
from launcher.planning import attempt
from launcher.reading.folders import RUNS_VARIABLE, runs_directory
from launcher.remote.node_client import NodePool
from launcher.remote.sync import FileSource
from launcher.runs.local import LocalRun
from launcher.runs.start import checked, start_run
from launcher.store import job as job_files

QUIET_LIMIT_S = 30
LOOK_S = 0.2
REPLACE_S = 5.0
"""Between two looks whether the run's supervisor is there."""


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
        profile, settings = _profile(request.profile), request.settings
        return Preflight(profile, nodes, data_path=request.data_path, settings=settings).run()


def start(request: op.StartRun) -> None:
    os.environ[RUNS_VARIABLE] = request.runs
    profile = _profile(request.profile)
    asked = replace(request.request, name=request.run)
    with _from_here(profile), NodePool() as nodes:
        start_run(profile, checked(profile, asked), nodes, request.command)


def send(request: op.SendToRun) -> dict[str, Any]:
    """Starts a new supervisor where the run's has died."""
    run = LocalRun(Path(request.root))
    run.ensure_supervised()
    return encode(run.request(decode(messages.Message, request.message)))


def choose_checkpoint(request: op.ChooseCheckpoint) -> ResumeChoice:
    run = LocalRun(Path(request.root))
    return run.resume_choice(run.next_attempt(*_resume(request)))


def resume(request: op.ResumeRun) -> ResumeChoice:
    run = LocalRun(Path(request.root))
    with NodePool() as nodes:
        return run.resume(run.next_attempt(*_resume(request)), nodes, _progress)


def start_job(request: op.StartRunJob) -> str:
    run, asked = LocalRun(Path(request.root)), request.request
    if asked.file_name:
        asked = replace(asked, file_name=str(run.paths.export / asked.file_name))
    return run.start_job(asked, _progress)


def stop_job(request: op.StopRunJob) -> None:
    LocalRun(Path(request.root)).stop_job(request.job)


def set_note(request: op.SetNote) -> None:
    LocalRun(Path(request.root)).set_note(request.note)


def delete(request: op.DeleteRun) -> None:
    run = LocalRun(Path(request.root))
    if run.root.is_dir():
        run.delete()


def follow(request: op.FollowRun) -> None:
    """Sends the run directory as it grows, until nothing of the run is alive."""
    run = LocalRun(Path(request.root))
    if not run.root.is_dir():
        raise LaunchError(f"there is no {run.root}: the run was removed")
    source = FileSource(run.root, request.known)
    listener = stdio.Listener(QUIET_LIMIT_S)
    look_at, is_in_step = 0.0, False
    while True:
        is_over = not _is_living(run)
        if not is_over and time.monotonic() >= look_at:
            look_at = time.monotonic() + REPLACE_S
            with contextlib.suppress(LaunchError):
                run.ensure_supervised()
        began = time.monotonic()
        is_idle = True
        for message in source.read():
            is_idle = False
            stdio.say(message)
            listener.wait()
        took_s = time.monotonic() - began
        if is_idle and is_over:
            return
        if not is_in_step and not source.is_behind:
            is_in_step = True
            stdio.say({"type": "alive", "is_in_step": True})
        listener.tell_alive(is_in_step=not source.is_behind)
        # Many files take long to look at: never more than a small part of the time.
        listener.wait(max(LOOK_S, 10 * took_s) if is_idle else 0.0)


def _is_living(run: LocalRun) -> bool:
    """Whether something of the run may still happen by itself."""
    if run.is_supervised:
        return True
    state = run.state()
    unfinished = [job.job for job in state.jobs if job.finished_s is None]
    files = [job_files.read(run.paths.job(name).job) for name in unfinished]
    is_job_running = any(job is not None and job.is_running for job in files)
    return not state.status.is_over or is_job_running


def _progress(name: str, done: int, size: int) -> None:
    stdio.say({"type": "progress", **to_plain(op.CopyProgress(name, done, size))})


def _profile(text: str) -> Profile:
    return model.on_first_node(profile_from_json(text))


def _resume(request: op.ChooseCheckpoint | op.ResumeRun) -> tuple[ResumeRequest, Profile | None]:
    return request.request, _profile(request.profile) if request.profile else None


@contextlib.contextmanager
def _from_here(profile: Profile) -> Iterator[None]:
    """Says of a `NodeError` that it was this machine that could not reach the node."""
    first = profile.nodes[0].label
    hint = (
        f"The supervisor runs on {first}, so {first} must reach the other nodes with its own keys"
        f" and known hosts: log in from {first} to each of them once."
    )
    try:
        yield
    except NodeError as error:
        text = f"from {first}: {error.message}"
        raise NodeError(error.node, text, f"{error.hint} {hint}".strip()) from error
