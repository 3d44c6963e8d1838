"""Imports the launcher when a worker thread first needs it: the first frame does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from tui.model.checks import Check
from tui.model.run import HomeView
from tui.sources.source import PlanText, RunSource, Source


class LazySource:
    """:class:`tui.sources.live.LiveSource`, made at the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._source: Source | None = None

    def _live(self) -> Source:
        with self._lock:
            if self._source is None:
                from tui.sources.live import LiveSource

                self._source = LiveSource()
            return self._source

    def home(self) -> HomeView:
        """Runs and profiles."""
        return self._live().home()

    def open(self, name: str) -> RunSource:
        """A run."""
        return self._live().open(name)

    def plan(self, profile: str, overrides: Mapping[str, str]) -> PlanText:
        """What a start would write and run."""
        return self._live().plan(profile, overrides)

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        """What a preflight will look at."""
        return self._live().checks(profile)

    def preflight(
        self, profile: str, overrides: Mapping[str, str], take: Callable[[Check], object]
    ) -> None:
        """Ask all nodes."""
        self._live().preflight(profile, overrides, take)

    def start(self, profile: str, overrides: Mapping[str, str]) -> str:
        """Start a run."""
        return self._live().start(profile, overrides)

    def stop(self, run: str, save: bool) -> str:
        """Ask a run to end."""
        return self._live().stop(run, save)

    def resume(self, run: str) -> str:
        """Open a new attempt."""
        return self._live().resume(run)

    def start_job(self, run: str, kind: str, options: Mapping[str, str]) -> str:
        """Start a job."""
        return self._live().start_job(run, kind, options)

    def command(self, action: str, target: str, options: Mapping[str, str]) -> str:
        """The command line of an action."""
        return self._live().command(action, target, options)
