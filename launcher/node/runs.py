"""Runs that live on this node while their users are elsewhere: what `launcher.runs.delegated` asks.

Each operation does what the same command does here, and its answer is what that prints.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

from launcher.checks.preflight import Preflight
from launcher.core import messages
from launcher.core.profile import model
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run.requests import JobRequest, ResumeRequest, StartRequest
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.core.text.records import UnknownKindError, decode, encode
from launcher.errors import LaunchError, NodeError
from launcher.ipc.channel import Message
from launcher.node import stdio
from launcher.planning import attempt
from launcher.reading.folders import RUNS_VARIABLE, runs_directory
from launcher.remote.node_client import NodePool
from launcher.remote.sync import FileSource
from launcher.runs.local import LocalRun
from launcher.runs.start import start_run
from launcher.store import job as job_files

QUIET_LIMIT_S = 30
LOOK_S = 0.2
REPLACE_S = 5.0
"""Between two looks whether the run's supervisor is there."""


def introduce(request: Message) -> int:
    """Connects to the other nodes, with this user's keys and known hosts."""
    profile = _profile(request)
    try:
        with NodePool() as nodes:
            attempt.introduce(profile, nodes)
    except NodeError as error:
        raise _from_here(error, profile) from error
    runs = str(request.get("runs_directory") or "")
    stdio.reply(ok=True, runs=os.path.expanduser(runs) if runs else str(runs_directory()))
    return 0


def preflight(request: Message) -> int:
    """The rows of a preflight from this machine."""
    data_path = str(request.get("data_path") or "")
    settings = tuple((str(key), str(value)) for key, value in request.get("settings", ()))
    with NodePool() as nodes:
        found = Preflight(_profile(request), nodes, data_path=data_path, settings=settings)
        stdio.reply(ok=True, rows=to_plain(found.run()))
    return 0


def start(request: Message) -> int:
    os.environ[RUNS_VARIABLE] = str(request["runs"])
    profile = _profile(request)
    asked = replace(from_plain(StartRequest, request["request"]), name=str(request["run"]))
    command = [str(word) for word in request.get("command", ())]
    try:
        with NodePool() as nodes:
            start_run(profile, asked, nodes, command=command)
    except NodeError as error:
        raise _from_here(error, profile) from error
    stdio.reply(ok=True)
    return 0


def ask(request: Message) -> int:
    """A request to the run's supervisor; a new one where it died."""
    run = _run(request)
    run.ensure_supervised()
    try:
        message = decode(messages.Message, request["request"])
    except (Mismatch, UnknownKindError) as error:
        raise LaunchError(f"the request cannot be read: {error}") from error
    stdio.reply(ok=True, reply=encode(run.request(message)))
    return 0


def choice(request: Message) -> int:
    found = _run(request).resume_choice(*_resume(request))
    stdio.reply(ok=True, choice=to_plain(found))
    return 0


def resume(request: Message) -> int:
    with NodePool() as nodes:
        found = _run(request).resume(*_resume(request), nodes, _progress)
    stdio.reply(ok=True, choice=to_plain(found))
    return 0


def job(request: Message) -> int:
    run, asked = _run(request), from_plain(JobRequest, request["request"])
    if asked.file_name:
        asked = replace(asked, file_name=str(run.paths.export / asked.file_name))
    stdio.reply(ok=True, job=run.start_job(asked, _progress))
    return 0


def job_stop(request: Message) -> int:
    _run(request).stop_job(str(request["job"]))
    stdio.reply(ok=True)
    return 0


def note(request: Message) -> int:
    _run(request).set_note(str(request["note"]))
    stdio.reply(ok=True)
    return 0


def delete(request: Message) -> int:
    run = _run(request)
    if run.root.is_dir():
        run.delete()
    stdio.reply(ok=True)
    return 0


def follow(request: Message) -> int:
    """The run directory as it grows; the reply comes when nothing of it runs any more."""
    run = _run(request)
    if not run.root.is_dir():
        raise LaunchError(f"there is no {run.root}: the run was removed")
    source = FileSource(run.root, request["known"])
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
            if not listener.hears():
                return 0
        took_s = time.monotonic() - began
        if is_idle and is_over:
            stdio.reply(ok=True)
            return 0
        if not is_in_step and not source.is_behind:
            is_in_step = True
            stdio.say({"type": "alive", "is_in_step": True})
        listener.tell_alive(is_in_step=not source.is_behind)
        # Many files take long to look at: never more than a small part of the time.
        if not listener.hears(max(LOOK_S, 10 * took_s) if is_idle else 0.0):
            return 0


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
    stdio.say({"type": "progress", "name": name, "done": done, "size": size})


def _run(request: Message) -> LocalRun:
    return LocalRun(Path(str(request["root"])))


def _profile(request: Message) -> Profile:
    return model.on_first_node(profile_from_json(str(request["profile"])))


def _resume(request: Message) -> tuple[ResumeRequest, Profile | None]:
    profile = _profile(request) if request.get("profile") else None
    return from_plain(ResumeRequest, request["request"]), profile


def _from_here(error: NodeError, profile: Profile) -> NodeError:
    """It was this machine that could not reach them: its keys, its known hosts."""
    first = profile.nodes[0].label
    hint = (
        f"The supervisor runs on {first}, so {first} must reach the other nodes with its own keys"
    )
    hint += f" and known hosts: log in from {first} to each of them once."
    return NodeError(error.node, f"from {first}: {error.message}", f"{error.hint} {hint}".strip())
