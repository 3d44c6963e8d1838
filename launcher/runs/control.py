"""A run's supervisor: started when it is missing, asked, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path

from launcher import programs
from launcher.errors import BusyError, LaunchError
from launcher.ipc.channel import ChannelClosedError, Message, connect
from launcher.process import spawn
from launcher.runs import delegated
from launcher.store.event_log import read_state
from launcher.store.run_lock import is_supervised

READY_LIMIT_S = 60.0
ANSWER_LIMIT_S = 10.0
LEAVE_LIMIT_S = 20.0


def stop_run(root: Path, *, save: bool = True, by: str = "") -> None:
    """Asks the run's supervisor (a new one where it died) to end it. Raises `BusyError`."""
    state = read_state(root)
    if state.status.is_over:
        raise BusyError(f"{root.name} is {state.status.value} already")
    ensure_supervisor(root)
    ask(root, {"op": "stop", "save": save, "by": by or default_by()})


def ensure_supervisor(root: Path) -> bool:
    """Replaces a supervisor that died over a run that is not over. -> whether it did."""
    if read_state(root).status.is_over or is_supervised(root):
        return False
    try:
        spawn_supervisor(root)
    except BusyError:
        return False  # somebody else was quicker
    # A supervisor elsewhere has not died: only this machine was away from it.
    return delegated.home_of(root) is None


def connect_home(root: Path, *, is_new: bool = False) -> None:
    """For a run that lives on its first node: what is here is up to date and stays so.

    `is_new`: something was begun there, even when the run was over here. Raises `LaunchError`.
    """
    deadline = time.monotonic() + LEAVE_LIMIT_S
    while delegated.home_of(root) is not None and (is_new or not read_state(root).status.is_over):
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
    is_here = delegated.home_of(root) is None
    program = programs.SUPERVISOR if is_here else programs.FOLLOWER
    log_file = root / ("supervisor.log" if is_here else "follower.log")
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    argv = [sys.executable, "-m", program, str(root)]
    argv += ["--ready", str(spawn.INHERITED_FD)]
    if resume:
        argv += ["--resume", resume]
    try:
        pid = spawn.detached(argv, log, write_end)
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


def default_by() -> str:
    """Who asks, for the event: user, machine and process."""
    import getpass
    import socket

    return (
        f"{getpass.getuser()}@{socket.gethostname()} ({os.path.basename(sys.argv[0] or 'python')})"
    )


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
