"""Starts the processes of a node, and reads how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from launcher import programs
from launcher.core.diagnosis.words import signal_name
from launcher.core.plan import logical
from launcher.core.plan.model import PlannedProcess, with_setup
from launcher.process import ownership, private
from launcher.rank import TOKEN

INHERITED_FD = 3
OF_RANKS = (
    "EFFNET_HEARTBEAT",
    "EFFNET_STOP_FILE",
    "EFFNET_STACKS",
    "EFFNET_RESUME",
    logical.RANKS,
    logical.SIZE,
)


@dataclass(frozen=True)
class SpawnedProcess:
    """A process that was started here. `start_ticks`: as in /proc; `start_time_s`: Unix time."""

    process: PlannedProcess
    pid: int
    start_ticks: int
    start_time_s: float


@dataclass(frozen=True)
class Exit:
    """How a child ended: exactly one of `exit_code` and `signal` is not None.

    `is_seen` is false where only its parent was seen to end.
    """

    pid: int
    exit_code: int | None
    signal: int | None
    time_s: float
    is_seen: bool = True

    @property
    def is_clean(self) -> bool:
        return self.exit_code == 0

    @property
    def words(self) -> str:
        """``exit code 1`` or ``SIGKILL``."""
        return f"exit code {self.exit_code}" if self.signal is None else signal_name(self.signal)


def start(process: PlannedProcess, token: str, inherit_fd: int | None = None) -> SpawnedProcess:
    """Starts it through `launcher.rank`, in its own session. Raises `OSError`.

    `inherit_fd` becomes its file descriptor 3.
    """
    argv = [*programs.command(programs.RANK), *arguments(process)]
    environment = environment_of(process, token)
    given = () if inherit_fd is None else ((os.POSIX_SPAWN_DUP2, inherit_fd, INHERITED_FD),)
    pid = os.posix_spawn(
        sys.executable,
        argv,
        environment,
        file_actions=given,
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    )
    return started(process, pid)


def environment_of(process: PlannedProcess, token: str) -> dict[str, str]:
    """What it is started with."""
    environment = {**base_environment(), **process.environment, TOKEN: token}
    environment["PYTHONPATH"] = _with_launcher(environment.get("PYTHONPATH", ""))
    return environment


def started(process: PlannedProcess, pid: int) -> SpawnedProcess:
    """The process with this pid, which is our child and was not reaped."""
    living = ownership.read_process(pid)
    ticks = living.start_time if living else 0
    return SpawnedProcess(process, pid, ticks, ownership.unix_time_of(ticks))


def arguments(process: PlannedProcess) -> list[str]:
    """Those of `launcher.rank` for this process, whose folder is made. Raises `OSError`."""
    folder = os.path.dirname(process.log)
    argv = ["--log", process.log, "--parent", str(os.getpid())]
    # MindSpore leaves folders wherever it runs.
    argv += ["--cwd", process.working_directory or folder]
    if process.heartbeat:
        argv += ["--heartbeat", process.heartbeat]
    if process.cpus:
        argv += ["--cpus", ",".join(map(str, process.cpus))]
    if not process.is_own:
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join(item for item in inherited if item not in ("", _our_folder()))
        argv += ["--python-path", process.environment.get("PYTHONPATH", path)]
    argv += ["--", *with_setup(process.setup, process.argv)]
    private.make_folder(Path(folder))
    return argv


def base_environment() -> dict[str, str]:
    """This process's environment without our variables, and with this launcher on PYTHONPATH.

    With the token of an outer run a rank would belong to that run, with the mark of its agent it
    would count as an agent.
    """
    ours = (TOKEN, ownership.WATCHES, *OF_RANKS)
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment["PYTHONPATH"] = _with_launcher(environment.get("PYTHONPATH", ""))
    # From Python 3.11 on: what `python -m` starts does not import from the working directory.
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def _with_launcher(python_path: str) -> str:
    """`python_path`, and last the folder that this launcher was imported from."""
    here = _our_folder()
    paths = list(filter(None, python_path.split(os.pathsep)))
    return os.pathsep.join(paths if here in paths else [*paths, here])


def _our_folder() -> str:
    """Where `launcher` was imported from."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def reap() -> list[Exit]:
    """All children that have ended, without waiting."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append(exit_of(pid, status))
    return ended


def reap_one(pid: int) -> Exit | None:
    """How this child ended; None when it has not, or was reaped."""
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return exit_of(ended, status)
    return None


def reap_others(is_awaited: Callable[[int], bool]) -> None:
    """Reaps ended children whose end nobody awaits: orphans of our processes."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if is_awaited(found.si_pid):
                return  # its pidfd reports it; orphans after it are reaped in the next turn
            os.waitpid(found.si_pid, os.WNOHANG)


def exit_of(pid: int, status: int) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Exit(pid, None, -code, time.time())
    return Exit(pid, code, None, time.time())


def detached(
    argv: list[str],
    log: Path,
    inherit_fd: int | None = None,
    *,
    watches: str = "",
    secrets: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Starts `argv` in its own session, without our terminal, with its output in `log`. -> its pid.

    `inherit_fd` becomes its file descriptor 3. `watches`: the token of the processes that it will
    start and end. `secrets`: variables that it gets beside this process's. Raises `OSError`.
    """
    environment = {**base_environment(), **secrets}
    if watches:
        environment[ownership.WATCHES] = watches
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    output_fd = os.open(log, flags, private.FILE_MODE)
    with open(os.devnull, "rb") as null, open(output_fd, "ab") as output:
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        if inherit_fd is not None:
            actions.append((os.POSIX_SPAWN_DUP2, inherit_fd, INHERITED_FD))
        return os.posix_spawn(
            argv[0], argv, environment, file_actions=actions, setsid=True, setsigmask=()
        )


def detach() -> None:
    """Continues in the background: this process exits, and its child returns."""
    if os.fork():
        os._exit(0)
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(PermissionError):
            os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
