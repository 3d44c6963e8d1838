"""The parent of a node agent: when the agent dies, however, its ranks end.

The guard does nothing but wait for its one child. It is a subreaper, so what an agent leaves
behind at its death becomes the guard's own child and is found even without token and session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import traceback
from collections.abc import Callable

from launcher.process import ownership

PR_SET_CHILD_SUBREAPER = 36
TERM_S = 1.5
KILL_S = 10.0


def become_subreaper() -> None:
    """Orphaned descendants of this process become its children, not init's."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_guarded(
    token: str,
    agent: Callable[[], int],
    died: Callable[[int, tuple[int, ...]], None],
) -> int:
    """Runs `agent` in a child process and waits for it. -> exit code for the guard's process.

    When the child ends in any way but exit code 0: ends every process of `token`, then calls
    `died(wait status, pids still there)`.
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
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(child))
    status = _wait(child)
    if status == 0:
        return 0
    claim = ownership.Claim(token=token, root=os.getpid())
    left = ownership.end_all(claim, TERM_S, KILL_S, _reap)
    died(status, left)
    return 1


def _pass_on(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


def _wait(child: int) -> int:
    """Wait status of `child`; other children that end meanwhile are reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
