"""Runs that live on this node while their users are elsewhere: what `launcher.runs.delegated` asks.

Each operation does what the same command does here, and its answer is what that prints.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from launcher.checks.preflight import Preflight
from launcher.cleanup import prune
from launcher.core.profile import model
from launcher.core.profile.load import profile_from_json
from launcher.core.profile.model import Profile
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import to_plain
from launcher.errors import LaunchError, NodeError
from launcher.ipc.channel import Message
from launcher.jobs import control as jobs
from launcher.node import stdio
from launcher.planning import attempt
from launcher.reading.folders import RUNS_VARIABLE, runs_directory
from launcher.remote.tree_sync import TreeSource
from launcher.runs import control
from launcher.runs import resume as runs_resume
from launcher.runs import start as actions
from launcher.store import job as job_files
from launcher.store.event_log import read_state
from launcher.store.run_lock import is_supervised

QUIET_LIMIT_S = 30
LOOK_S = 0.2
REPLACE_S = 5.0
"""Between two looks whether the run's supervisor is there."""


def introduce(request: Message) -> int:
    """Connects to the other nodes, with this user's keys and known hosts."""
    profile = _profile(request)
    try:
        attempt.introduce(profile)
    except NodeError as error:
        raise _from_here(error, profile) from error
    runs = str(request.get("runs_directory") or "")
    stdio.reply(ok=True, runs=os.path.expanduser(runs) if runs else str(runs_directory()))
    return 0


def preflight(request: Message) -> int:
    """The rows of a preflight from this machine."""
    data_path = str(request.get("data_path") or "")
    found = Preflight(_profile(request), data_path=data_path, settings=_pairs(request))
    try:
        stdio.reply(ok=True, rows=to_plain(found.run()))
    finally:
        found.close()
    return 0


def start(request: Message) -> int:
    os.environ[RUNS_VARIABLE] = str(request["runs"])
    profile = _profile(request)
    try:
        actions.start_run(
            profile,
            sets=_pairs(request),
            name=str(request["run"]),
            data_path=str(request.get("data_path") or ""),
            command=[str(word) for word in request.get("command", ())],
            resume=str(request.get("resume") or ""),
        )
    except NodeError as error:
        raise _from_here(error, profile) from error
    stdio.reply(ok=True)
    return 0


def ask(request: Message) -> int:
    """A request to the run's supervisor; a new one where it died."""
    root = _root(request)
    control.ensure_supervisor(root)
    stdio.reply(**{**control.ask(root, request["request"]), "ok": True})
    return 0


def choice(request: Message) -> int:
    found = runs_resume.resume_choice(_root(request), **_resume_options(request))
    stdio.reply(ok=True, choice=to_plain(found))
    return 0


def resume(request: Message) -> int:
    found = runs_resume.resume_run(
        _root(request),
        data_path=str(request.get("data_path") or ""),
        progress=_progress,
        **_resume_options(request),
    )
    stdio.reply(ok=True, choice=to_plain(found))
    return 0


def job(request: Message) -> int:
    options: dict[str, Any] = dict(request.get("options") or {})
    kind = str(request["kind"])
    if options.get("file_name"):
        options["file_name"] = str(RunPaths(_root(request)).export / str(options["file_name"]))
    started = jobs.start_job(_root(request), kind, progress=_progress, **options)
    stdio.reply(ok=True, job=started)
    return 0


def job_stop(request: Message) -> int:
    jobs.stop_job(_root(request), str(request["job"]))
    stdio.reply(ok=True)
    return 0


def delete(request: Message) -> int:
    root = _root(request)
    if root.is_dir():
        prune.delete_run(root)
    stdio.reply(ok=True)
    return 0


def follow(request: Message) -> int:
    """The run directory as it grows; the reply comes when nothing of it runs any more."""
    root = _root(request)
    if not root.is_dir():
        raise LaunchError(f"there is no {root}: somebody has removed the run")
    source = TreeSource(root, request["known"])
    listener = stdio.Listener(QUIET_LIMIT_S)
    look_at, is_in_step = 0.0, False
    while True:
        is_over = not _is_living(root)
        if not is_over and time.monotonic() >= look_at:
            look_at = time.monotonic() + REPLACE_S
            with contextlib.suppress(LaunchError):
                control.ensure_supervisor(root)
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


def _is_living(root: Path) -> bool:
    """Whether something of the run may still happen by itself."""
    if is_supervised(root):
        return True
    state = read_state(root)
    unfinished = [job.job for job in state.jobs if job.finished_s is None]
    files = [job_files.read(RunPaths(root).job(name).job) for name in unfinished]
    is_job_running = any(job is not None and job.is_running for job in files)
    return not state.status.is_over or is_job_running


def _progress(name: str, done: int, size: int) -> None:
    stdio.say({"type": "progress", "name": name, "done": done, "size": size})


def _root(request: Message) -> Path:
    return Path(str(request["root"]))


def _profile(request: Message) -> Profile:
    return model.on_first_node(profile_from_json(str(request["profile"])))


def _pairs(request: Message) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in request.get("sets", ()))


def _resume_options(request: Message) -> dict[str, Any]:
    profile = _profile(request) if request.get("profile") else None
    checkpoint = str(request["checkpoint"])
    return {"checkpoint": checkpoint, "profile": profile, "sets": _pairs(request)}


def _from_here(error: NodeError, profile: Profile) -> NodeError:
    """It was this machine that could not reach them: its keys, its known hosts."""
    first = profile.nodes[0].label
    hint = (
        f"The supervisor runs on {first}, so {first} must reach the other nodes with its own keys"
    )
    hint += f" and known hosts: log in from {first} to each of them once."
    text = error.message.removeprefix(f"{error.node}: ")
    return NodeError(error.node, f"from {first}: {text}", f"{error.hint} {hint}".strip())
