"""A job that was started elsewhere, opened by its folder, a pattern, or a folder on a host."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Protocol

from launcher.core.profile.model import RemoteTransport
from launcher.core.run.script_lines import log_pattern
from launcher.core.run.state import RunState, RunStatus
from launcher.errors import UsageError
from launcher.reading.run import RunReader
from launcher.watching.folder import LocalFiles
from launcher.watching.job import WatchedJob
from launcher.watching.layout import Files

_REMOTE = re.compile(r"(?:([^@/:\s]+)@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):(.+)")


class FileSource(Protocol):
    """Where the log files are."""

    def files(self) -> Files:
        """As they are now."""

    def close(self) -> None:
        """End what was started for it."""


class WatchedRun(RunReader):
    """Reads a job as a run; each poll first reads what is new in its logs.

    Its state is that of the events: no supervisor of ours knows the job.
    """

    def __init__(self, target: str, source: FileSource, job: WatchedJob) -> None:
        super().__init__(job.root)
        self.target = target
        self._source, self._job = source, job

    def poll_state(self) -> RunState:
        self._job.update(self._source.files())
        return super().poll_state()

    def status(self, now_s: float | None = None) -> RunStatus:
        return self.state.shown

    def catch_up(self) -> None:
        """Reads everything that is there now."""
        self.poll_state()
        while self._job.is_behind:
            self.poll_state()

    def close(self) -> None:
        self._source.close()
        self._job.close()


def watch(
    target: str,
    *,
    pattern: str = "",
    silent_s: float = 0.0,
    python: str = "",
    transport: RemoteTransport = "ssh",
    confirm_host: Callable[[str], bool] | None = None,
) -> WatchedRun:
    """Opens the job whose logs are in a folder, match a pattern, or are in ``HOST:FOLDER``.

    ``pattern``: a regular expression for the lines of steps; ``silent_s``: a rank whose log does
    not grow for so long is silent (0: learned); ``python`` and ``transport``: the host's.
    Raises UsageError where no logs are found, and NodeError.
    """
    try:
        compiled = log_pattern(pattern) if pattern else None
    except ValueError as error:
        raise UsageError(f"--pattern: {error}", "See docs/reference/script-lines.md.") from error
    match = None if os.path.exists(target) else _REMOTE.fullmatch(target)
    source: FileSource
    if match is None:
        source = LocalFiles(target)
    else:
        from launcher.watching.remote import RemoteFiles

        user, host = match[1] or "", match[2].strip("[]")
        source = RemoteFiles(user, host, match[3], python, transport, confirm_host)
    try:
        return WatchedRun(target, source, WatchedJob(target, compiled, silent_s))
    except BaseException:
        source.close()
        raise
