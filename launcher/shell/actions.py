"""What changes a run: start, stop, resume, and finding out whether somebody owns it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.core import seat
from launcher.core.checkpoints import ResumeChoice
from launcher.core.plan import Plan
from launcher.core.profile import Profile
from launcher.core.run_info import RunInfo
from launcher.core.state import RunStatus
from launcher.errors import BusyError, CheckpointError, LaunchError, UsageError
from launcher.reading.folders import runs_directory
from launcher.shell import (
    checkpoint_choice,
    homes,
    prepare,
    processes,
    retrying,
    run_files,
    settings,
)
from launcher.shell.channel import ChannelClosedError, Message, connect
from launcher.shell.checkpoint_choice import AUTO
from launcher.shell.event_log import read_state
from launcher.shell.host_keys import Ask
from launcher.shell.run_files import StartRequest, StoredRun
from launcher.shell.supervision import is_supervised
from launcher.shell.transfer import Progress

READY_LIMIT_S = 60.0
ANSWER_LIMIT_S = 10.0
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LEAVE_LIMIT_S = 20.0

Settings = Sequence[tuple[str, str]]
Look = Callable[[Profile, Settings, str], object]
"""Told what a new attempt would have: profile, settings, data path; it may raise."""


def plan_run(profile: Profile, *, name: str = "", sets: Settings = (), data_path: str = "") -> Plan:
    """What `start_run` would write and run; port 0 is chosen at the start.

    Raises `PlanError` and `SettingsError`.
    """
    run = name or run_id(profile.name, time.time())
    settings.check(profile, tuple(sets))
    return prepare.plan_attempt(
        profile,
        run,
        runs_directory() / run,
        1,
        data_path=data_path_of(profile, data_path),
        settings=tuple(sets),
    )


def start_run(
    profile: Profile,
    *,
    sets: Settings = (),
    name: str = "",
    data_path: str = "",
    command: Sequence[str] = (),
    ask: Ask | None = None,
    resume: str = "",
    look: Callable[[], object] = lambda: None,
) -> str:
    """Makes a run directory and a supervisor for it. -> the run's id, when the supervisor owns it.

    `ask` answers questions about unknown hosts; without it they are refused. `resume` is a
    checkpoint, of another run say, from which this one goes on. `look` is called between the plan
    and the first word to a node. Raises `PlanError`,
    `SettingsError` and `NodeError` before anything is written, `LaunchError` when it cannot be
    started.
    """
    run = name or run_id(profile.name, time.time())
    if not RUN_NAME.fullmatch(run):
        raise UsageError(
            f"{run!r} cannot be a run's id",
            "Letters, digits, dots, dashes, underscores; up to 100.",
        )
    root = runs_directory() / run
    if root.exists():
        raise BusyError(f"there is a run {run} already", "Choose another --name.")
    if prepare.is_plannable_here(profile):
        plan_run(profile, name=run, sets=sets, data_path=data_path)
    look()
    runs_there = ""
    if seat.is_elsewhere(profile):
        runs_there = homes.introduce(profile, ask)
    else:
        prepare.introduce(profile, ask)
    info = RunInfo(
        id=run,
        profile=profile.name,
        created=time.time(),
        world_size=profile.world_size,
        versions=run_files.versions(),
        command=tuple(command),
    )
    request = StartRequest(data_path_of(profile, data_path), tuple(sets))
    if runs_there:
        homes.start(root, runs_there, info, profile, request, resume)
        with contextlib.suppress(LaunchError):
            # It runs there, whatever happens to the copy: the next look at it says why.
            spawn_supervisor(root)
        return run
    run_files.create(root, info, profile, request)
    try:
        spawn_supervisor(root, resume=str(Path(resume).absolute()) if resume else "")
    except LaunchError:
        if read_state(root).attempt is None:
            shutil.rmtree(root, ignore_errors=True)  # it never began
        raise
    return run


def stop_run(root: Path, *, save: bool = True, by: str = "") -> None:
    """Asks the run's supervisor (a new one where it died) to end it. Raises `BusyError`."""
    state = read_state(root)
    if state.status.is_over:
        raise BusyError(f"{root.name} is {state.status.value} already")
    ensure_supervisor(root)
    ask(root, {"op": "stop", "save": save, "by": by or default_by()})


def resume_choice(
    root: Path,
    checkpoint: str = AUTO,
    *,
    profile: Profile | None = None,
    sets: Settings = (),
) -> ResumeChoice:
    """What `resume_run` would take, and why. Verifies sha256, and copies nothing.

    Raises `SettingsError`, `NodeError`.
    """
    if homes.home_of(root) is not None:
        return homes.resume_choice(root, checkpoint, profile, sets)
    stored = run_files.load(root)
    _check_edit(stored, profile, sets)
    run = run_files.edited(stored, profile, tuple(sets))
    wanted = retrying.wanted_of(run, read_state(root), checkpoint, before=stored.profile)
    return checkpoint_choice.choose(run, wanted)


def resume_run(
    root: Path,
    *,
    checkpoint: str = AUTO,
    profile: Profile | None = None,
    sets: Settings = (),
    data_path: str = "",
    progress: Progress | None = None,
    look: Look | None = None,
) -> ResumeChoice:
    """A new attempt from a checkpoint, with what is given: edited profile, settings, data folder.

    A checkpoint that lies on another machine than rank 0's is copied there; `progress` is told.
    `look` is called before the first word to a node, with what the new attempt would have.
    Raises `BusyError`, `CheckpointError`, `PlanError`, `SettingsError`, `NodeError`.
    """
    if homes.home_of(root) is not None:
        # Of one that goes on, its first node says so.
        if look is not None and read_state(root).status.is_over:
            _look(_edited(run_files.load(root), profile, sets, data_path), look)
        choice = homes.resume(root, checkpoint, profile, sets, data_path, progress)
        connect_home(root, is_new=True)
        return choice
    stored = run_files.load(root)
    _check_edit(stored, profile, sets)
    _wait_for_supervisor_to_leave(root)
    state = read_state(root)
    if is_supervised(root) or not state.status.is_over:
        raise BusyError(
            f"{root.name} is {state.status.value}", f"Stop it first: effnet-launch stop {root.name}"
        )
    if state.status is RunStatus.FINISHED:
        raise BusyError(
            f"{root.name} has finished: nothing is left to train",
            f"For more epochs start anew: effnet-launch start {stored.info.profile}",
        )
    run = _edited(stored, profile, sets, data_path)
    if look is not None:
        _look(run, look)
    if checkpoint == retrying.SCRATCH:
        choice = ResumeChoice(None, "from the beginning, as asked")
    else:
        wanted = retrying.wanted_of(run, state, checkpoint, before=stored.profile)
        choice = checkpoint_choice.fetch(run, wanted, progress)
        if choice.path is None:
            raise CheckpointError(
                f"{root.name}: {choice.why}", "From the beginning: --checkpoint scratch"
            )
    if profile is not None or sets or data_path:
        run_files.write_edited(run)
    spawn_supervisor(root, resume=choice.path or retrying.SCRATCH)
    return choice


def _edited(
    stored: StoredRun, profile: Profile | None, sets: Settings, data_path: str
) -> StoredRun:
    """The run as its next attempt has it; the data folder of an edited profile counts, too."""
    run = run_files.edited(stored, profile, tuple(sets))
    if data_path or run.profile.data_path != stored.profile.data_path:
        data_path = data_path_of(run.profile, data_path)
        run = replace(run, request=replace(run.request, data_path=data_path))
    return run


def _look(run: StoredRun, look: Look) -> None:
    look(run.profile, run.request.settings, run.request.data_path)


def _check_edit(run: StoredRun, profile: Profile | None, sets: Settings) -> None:
    """A run as it was started was checked then. Raises `SettingsError`."""
    if profile is not None or sets:
        edited = run_files.edited(run, profile, tuple(sets))
        settings.check(edited.profile, edited.request.settings)


def ensure_supervisor(root: Path) -> bool:
    """Replaces a supervisor that died over a run that is not over. -> whether it did."""
    if read_state(root).status.is_over or is_supervised(root):
        return False
    try:
        spawn_supervisor(root)
    except BusyError:
        return False  # somebody else was quicker
    # A supervisor elsewhere has not died: only this machine was away from it.
    return homes.home_of(root) is None


def connect_home(root: Path, *, is_new: bool = False) -> None:
    """For a run that lives on its first node: what is here is up to date and stays so.

    `is_new`: something was begun there, even when the run was over here. Raises `LaunchError`.
    """
    deadline = time.monotonic() + LEAVE_LIMIT_S
    while homes.home_of(root) is not None and (is_new or not read_state(root).status.is_over):
        if not is_supervised(root):
            with contextlib.suppress(BusyError):
                spawn_supervisor(root)
            return
        if not is_new or time.monotonic() > deadline:
            return
        # It may be about to leave, as all was over before.
        time.sleep(0.2)


def _wait_for_supervisor_to_leave(root: Path) -> None:
    """A run that has just ended is still being swept: a resume right then shall not be refused."""
    deadline = time.monotonic() + LEAVE_LIMIT_S
    while is_supervised(root) and read_state(root).status.is_over and time.monotonic() < deadline:
        time.sleep(0.05)


def spawn_supervisor(root: Path, resume: str = "") -> None:
    """Starts a supervisor and waits until it owns the run. Raises `LaunchError`."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    # In a copy supervisor.log is that of the supervisor elsewhere.
    part = "supervisor" if homes.home_of(root) is None else "follower"
    log_file = root / f"{part}.log"
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    argv = [sys.executable, "-m", f"launcher.shell.{part}", str(root)]
    argv += ["--ready", str(processes.INHERITED_FD)]
    if resume:
        argv += ["--resume", resume]
    try:
        pid = processes.detached(argv, log, write_end)
    finally:
        os.close(log)
        os.close(write_end)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)  # it goes into the background at once
    try:
        answer = _read_answer(read_end)
    finally:
        os.close(read_end)
    if answer != "ok":
        message = answer or f"the supervisor ended at once; its log: {log_file}"
        raise BusyError(message) if "another supervisor" in answer else LaunchError(message)


def ask(root: Path, request: Message) -> Message:
    """One request to a run's supervisor. Raises `LaunchError`."""
    try:
        socket_path = json.loads((root / "supervisor.json").read_text())["socket"]
        channel = connect(socket_path)
        try:
            channel.send(request)
            reply = channel.wait(ANSWER_LIMIT_S)[0]
        finally:
            channel.close()
    except (OSError, ValueError, KeyError, ChannelClosedError, TimeoutError) as error:
        raise LaunchError(f"the supervisor of {root.name} does not answer: {error}") from error
    if not reply.get("ok"):
        raise LaunchError(str(reply.get("error", "the supervisor refused")))
    return reply


def run_id(profile: str, now_s: float) -> str:
    """`<profile>-<YYYYMMDD>-<HHMMSS>-<4 hex digits>`, local time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_s))
    return f"{profile}-{stamp}-{secrets.token_hex(2)}"


def default_by() -> str:
    """Who asks, for the event: user, machine and process."""
    import getpass
    import socket

    return (
        f"{getpass.getuser()}@{socket.gethostname()} ({os.path.basename(sys.argv[0] or 'python')})"
    )


def data_path_of(profile: Profile, data_path: str) -> str:
    """Absolute: a rank runs elsewhere than the person who typed the path."""
    chosen = data_path or profile.data_path
    local_only = all(node.is_local for node in profile.nodes)
    return str(Path(chosen).expanduser().absolute()) if chosen and local_only else chosen


def _read_answer(fd: int) -> str:
    deadline = time.monotonic() + READY_LIMIT_S
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        block = os.read(fd, 1 << 16)
        if not block:
            break
        data += block
    return data.decode("utf-8", "replace")


def start_job(root: Path, kind: str, **options: Any) -> str:
    """An `eval`, `export` or `infer` job (`launcher.shell.jobs.start_job`). -> its id."""
    from launcher.shell import jobs

    return jobs.start_job(root, kind, **options)
