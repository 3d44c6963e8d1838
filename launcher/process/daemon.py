"""The life of a process in the background: the supervisor of a run, or what copies a run."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence

from launcher.errors import LaunchError
from launcher.process import private, spawn
from launcher.process.log import log_line

ReportReady = Callable[[str], None]


RESTARTS = 5
"""A process that dies more often than this has a reason that another start does not remove."""


@contextlib.contextmanager
def daemon(
    ready_fd: int | None,
    may_restart: Callable[[], bool] | None = None,
    *,
    passed_on: Sequence[int] = (),
) -> Iterator[ReportReady]:
    """Leaves the terminal. The block gets a function that writes `ok` to `ready_fd`.

    `may_restart` makes the block run in a child process: when that was ready and dies, its parent
    calls `may_restart`, which can wait, and the block runs again in another child.

    The client that started this process waits for that, or for the reason why not: an error that a
    user can cause is written there and to the log, and ends the process with its exit code. The
    traceback of any other error is written to the log.

    With `passed_on` the process stays in the foreground, and its parent sends it these signals.
    """
    private.apply_umask()
    if not passed_on:
        spawn.detach()
    was_ready = mmap.mmap(-1, 1)  # shared with the child
    if may_restart is not None and not _fork_restarted(ready_fd, was_ready, may_restart, passed_on):
        ready_fd = None  # the client that waited has its answer
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)

    def report_ready(text: str) -> None:
        nonlocal ready_fd
        was_ready[0] = text == "ok"
        if ready_fd is not None:
            fd, ready_fd = ready_fd, None
            with contextlib.suppress(OSError):
                os.write(fd, text.encode())
            os.close(fd)

    try:
        yield report_ready
    except (LaunchError, OSError) as error:
        log_line(str(error))
        report_ready(str(error))
        raise SystemExit(error.exit_code if isinstance(error, LaunchError) else 1) from error
    except Exception:
        log_line(traceback.format_exc())
        raise


def _pass_on(child: int, number: int, _: object) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _fork_restarted(
    ready_fd: int | None,
    was_ready: mmap.mmap,
    may_restart: Callable[[], bool],
    passed_on: Sequence[int],
) -> bool:
    """Returns in the child only. -> whether it is the first one."""
    for n in range(RESTARTS + 1):
        was_ready[0] = False
        for number in passed_on:
            signal.signal(number, signal.SIG_IGN)  # until the child can handle it
        child = os.fork()
        if not child:
            return n == 0
        for number in passed_on:
            signal.signal(number, functools.partial(_pass_on, child))
        if n == 0 and ready_fd is not None:
            os.close(ready_fd)  # a client sees at once that the child died without an answer
        ended = spawn.exit_of(child, os.waitpid(child, 0)[1])
        if ended.is_clean or not was_ready[0]:
            break
        log_line(f"process {child} was ended by {ended.words}")
        if not may_restart():
            break
    os._exit(ended.exit_code or 0)
