"""The parent of an agent or a job's runner: when that dies in any way, its processes are ended.

The guard only waits for its child. It is a subreaper: processes of a dead agent become children of
the guard and are found even without token and session.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from launcher.process import ownership, private, spawn, termination

PR_SET_CHILD_SUBREAPER = 36
TERM_S = 1.5
KILL_S = 10.0


def become_subreaper() -> None:
    """Orphaned descendants of this process become its children, not init's."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def on_term(handler: Callable[[], object]) -> None:
    """Calls `handler` for SIGTERM from now on, also for one that was held back."""
    signal.signal(signal.SIGTERM, lambda *_: handler())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))


def hold_term() -> None:
    """SIGTERM waits until `on_term`, in this process and in those that it forks."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


class Guarded:
    """What a guarded process knows of its guard, which makes this. `file`: memory of the two."""

    def __init__(self, guard: int = 0, file: int = -1) -> None:
        self.guard = guard or os.getpid()
        self.file = file
        if file < 0:
            with contextlib.suppress(OSError):  # then the two stay what they are
                self.file = private.unnamed_file("guarded")

    @property
    def is_guarded(self) -> bool:
        """Whether the guard is there, and can change."""
        return self.file >= 0 and os.getppid() == self.guard

    def change_guard(self, argv: Sequence[str], environment: Mapping[str, str], log: str) -> None:
        """The guard becomes another program, which guards the same process. Raises `OSError`."""
        content = json.dumps([list(argv), dict(environment), log]).encode()
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, content, 0)
        os.kill(self.guard, signal.SIGUSR1)


def become(argv: Sequence[str], environment: Mapping[str, str], log: str) -> NoReturn:
    """This process goes on as another program, with its output in `log`. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    output = os.open(log, flags, private.FILE_MODE)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.execve(argv[0], list(argv), dict(environment))


def run_guarded(
    token: str,
    agent: Callable[[], int],
    died: Callable[[int], object] = lambda status: None,
    guarded: Guarded | None = None,
) -> tuple[int, ...] | None:
    """Runs `agent` in a child process and waits for it; None when its exit code is 0.

    Else calls `died` with its wait status, and ends every process of `token`. -> pids still there.
    With `guarded`, `agent` may change this guard.
    """
    child = os.fork()
    if child == 0:
        exit_with(agent)
    return watch(token, child, died, guarded)


def exit_with(agent: Callable[[], int]) -> NoReturn:
    """Never returns into the stack of the guard."""
    code = 1
    try:
        code = agent()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def watch(
    token: str, child: int, died: Callable[[int], object], guarded: Guarded | None
) -> tuple[int, ...] | None:
    """What the guard does."""
    become_subreaper()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    on_term(lambda: _pass_on(child))
    if guarded is not None:
        signal.signal(signal.SIGUSR1, lambda *_: _change(guarded.file))
    status = _wait(child)
    if status == 0:
        return None
    died(status)
    claim = ownership.Claim(token=token, root=os.getpid())
    return termination.end_all(claim, TERM_S, KILL_S, spawn.reap)


def _change(file: int) -> None:
    content = os.pread(file, os.fstat(file).st_size, 0)
    argv, environment, log = json.loads(content)
    os.set_inheritable(file, True)
    try:
        become(argv, environment, log)
    except OSError:
        traceback.print_exc()  # it still finds what its descendants leave


def _pass_on(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


def _wait(child: int) -> int:
    """Wait status of `child`; other children that end meanwhile are reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status
