"""A job that another launcher started, as the run that the dashboard opens first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher import client
from tui.drawing.wording import WATCHED
from tui.sources.live import LiveRun, LiveSource

if TYPE_CHECKING:
    from launcher.watching.watch import WatchedRun


class LiveJob(LiveRun):
    """Nothing can be resumed: another launcher owns it."""

    def restart(self) -> client.ResumeChoice:
        return client.ResumeChoice(None, WATCHED)


class WatchSource(LiveSource):
    """Opens the job by its target, and runs by their names, read-only."""

    def __init__(self, job: WatchedRun) -> None:
        super().__init__(read_only=True)
        self._job = job

    def open(self, name: str) -> LiveRun:
        return LiveJob(self._job) if name == self._job.target else super().open(name)
