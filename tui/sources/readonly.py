"""The second lock of ``--readonly``: whatever a screen forgets to refuse, the source refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tui.model.checks import Check
from tui.model.run import HomeView
from tui.sources.source import PlanText, RunSource, Source, SourceError

REFUSED: Final = "started with --readonly: nothing can be changed"


class ReadOnlySource:
    """Shows what ``source`` shows and changes nothing."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def home(self) -> HomeView:
        """Runs and profiles."""
        return self._source.home()

    def open(self, name: str) -> RunSource:
        """A run; nothing in it can change it."""
        return self._source.open(name)

    def plan(self, profile: str, overrides: Mapping[str, str]) -> PlanText:
        """A plan only says what would be done."""
        return self._source.plan(profile, overrides)

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        """What a preflight would look at."""
        return self._source.checks(profile)

    def preflight(
        self, profile: str, overrides: Mapping[str, str], take: Callable[[Check], object]
    ) -> None:
        """A preflight changes nothing."""
        self._source.preflight(profile, overrides, take)

    def command(self, action: str, target: str, options: Mapping[str, str]) -> str:
        """The command line of an action; showing it does nothing."""
        return self._source.command(action, target, options)

    def start(self, profile: str, overrides: Mapping[str, str]) -> str:
        """Refused."""
        raise SourceError(REFUSED)

    def stop(self, run: str, save: bool) -> str:
        """Refused."""
        raise SourceError(REFUSED)

    def resume(self, run: str) -> str:
        """Refused."""
        raise SourceError(REFUSED)

    def start_job(self, run: str, kind: str, options: Mapping[str, str]) -> str:
        """Refused."""
        raise SourceError(REFUSED)
