"""The life of a process that owns a run, be it the supervisor or the follower of one elsewhere."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from launcher.errors import LaunchError
from launcher.process import spawn
from launcher.process.log import log_line

ReportReady = Callable[[str], None]


def run_daemon(work: Callable[[ReportReady], int], ready_fd: int | None) -> int:
    """Leaves the terminal and does `work`; -> the exit code.

    `work` says `ok`, or what is in its way, through the function that it is given; the client that
    waits on `ready_fd` reads it there. An error that a user can cause is said there and in the
    process's own log, any other one with its traceback in the log alone.
    """
    spawn.detach()
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
    try:
        return work(lambda text: spawn.report_ready(ready_fd, text))
    except (LaunchError, OSError) as error:
        log_line(str(error))
        spawn.report_ready(ready_fd, str(error))
        return error.exit_code if isinstance(error, LaunchError) else 1
    except Exception:
        log_line(traceback.format_exc())
        raise
