"""A job that was started elsewhere, opened by its folder or by a pattern."""

from __future__ import annotations

from typing import Protocol

from launcher.core.run.script_lines import log_pattern
from launcher.core.run.state import RunState, RunStatus
from launcher.errors import UsageError
from launcher.reading.run import RunReader
from launcher.watching.folder import LocalFiles
from launcher.watching.job import Files, WatchedJob


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
) -> WatchedRun:
    """Opens the job whose logs are in a folder, or match a pattern.

    ``pattern``: a regular expression for the lines of steps; ``silent_s``: a rank whose log does
    not grow for so long is silent (0: learned). Raises UsageError where no logs are found.
    """
    try:
        compiled = log_pattern(pattern) if pattern else None
    except ValueError as error:
        raise UsageError(f"--pattern: {error}", "See docs/reference/script-lines.md.") from error
    source = LocalFiles(target)
    try:
        return WatchedRun(target, source, WatchedJob(target, compiled, silent_s))
    except BaseException:
        source.close()
        raise
