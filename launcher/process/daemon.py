"""The life of a process in the background: the supervisor of a run, or what copies a run."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator

from launcher.errors import LaunchError
from launcher.process import private, spawn
from launcher.process.log import log_line

ReportReady = Callable[[str], None]


@contextlib.contextmanager
def daemon(ready_fd: int | None) -> Iterator[ReportReady]:
    """Leaves the terminal. The block gets a function that writes `ok` to `ready_fd`.

    The client that started this process waits for that, or for the reason why not: an error that a
    user can cause is written there and to the log, and ends the process with its exit code. The
    traceback of any other error is written to the log.
    """
    private.apply_umask()
    spawn.detach()
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)

    def report_ready(text: str) -> None:
        nonlocal ready_fd
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
