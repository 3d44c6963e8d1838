"""The parent of an agent or a job's runner: when that dies in any way, its processes are ended.

The guard only waits for its child. It is a subreaper: processes of a dead agent become children of
the guard and are found even without token and session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import traceback
from collections.abc import Callable

from launcher.process import ownership, spawn, termination

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


def run_guarded(
    token: str, agent: Callable[[], int], died: Callable[[int], object] = lambda status: None
) -> tuple[int, ...] | None:
    """Runs `agent` in a child process and waits for it; None when its exit code is 0.

    Else calls `died` with its wait status, and ends every process of `token`. -> pids still there.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = agent()
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            # Never return into the guard's stack.
            os._exit(code)
    become_subreaper()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    on_term(lambda: _pass_on(child))
    status = _wait(child)
    if status == 0:
        return None
    died(status)
    claim = ownership.Claim(token=token, root=os.getpid())
    return termination.end_all(claim, TERM_S, KILL_S, spawn.reap)


def _pass_on(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


def _wait(child: int) -> int:
    """Wait status of `child`; other children that end meanwhile are reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status
