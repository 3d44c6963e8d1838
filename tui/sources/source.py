"""What the dashboard needs from below, as two small protocols that tests can fake.

``tui.sources.live`` implements them with ``launcher.client``; ``tui.sources.replay`` with a run
directory and its own clock. Every call may read files or sockets, so each is made from a worker
thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tui.logs.log_source import LogSource
from tui.model.run import ChartRequest, ComparisonFrame, FrameRequest, HomeView, RunFrame

if TYPE_CHECKING:
    from launcher.client import ResumeChoice, Row
    from launcher.core.run.requests import Request, StartRequest

PlanText = tuple[tuple[str, tuple[str, ...]], ...]
"""A launch plan, ready to read: sections of a title and lines."""

READ_ONLY: Final = "started with --readonly: nothing can be changed"
REPLAY: Final = "this is a replay: nothing can be changed in it"


class SourceError(Exception):
    """What the user asked for is not there or could not be done; the text says what and why."""


class Player(Protocol):
    """The controls of a replay."""

    @property
    def badge(self) -> str:
        """Where it stands and how fast it plays."""

    def pause(self) -> None:
        """Pause or continue."""

    def seek(self, by_s: float) -> None:
        """Forward or back, in seconds of the run."""

    def faster(self, by: int) -> None:
        """The next speed, up or down."""


class RunSource(Protocol):
    """One run."""

    @property
    def player(self) -> Player | None:
        """Set when this is a replay."""

    def frame(self, request: FrameRequest) -> RunFrame:
        """What is known now; raises :class:`SourceError` when the run is gone."""

    def log(self, rank: int, attempt: int | None = None) -> LogSource:
        """The log of a rank in an attempt (the newest)."""

    def merged_log(self, ranks: Sequence[int], attempt: int | None = None) -> LogSource:
        """The logs of several ranks in an attempt as one, by time."""

    def events(self, attempt: int | None = None) -> LogSource:
        """What happened in an attempt, or in the whole run."""

    def times(self) -> LogSource:
        """Where the time of the run and of each attempt went, as a table."""

    def restart(self) -> ResumeChoice:
        """The checkpoint for a resume: reads and verifies it, so it may take seconds.

        In a replay: the checkpoint that the run was resumed from.
        """


class ComparisonSource(Protocol):
    """Runs that are compared."""

    def frame(self, request: ChartRequest) -> ComparisonFrame:
        """What is known now, and one chart."""


class Source(Protocol):
    """All that the dashboard can see and do."""

    def home(self) -> HomeView:
        """Runs and profiles."""

    def open(self, name: str) -> RunSource:
        """A run by id, unique prefix, path, or ``latest``; raises :class:`SourceError`."""

    def compare(self, names: Sequence[str]) -> ComparisonSource:
        """Two or more runs, by id or path; raises :class:`SourceError`."""

    def plan(self, profile: str, request: StartRequest) -> PlanText:
        """What a start would write and run; raises :class:`SourceError` naming every error."""

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        """(check, node) of every row of a preflight, in the order of showing."""

    def preflight(
        self, profile: str, request: StartRequest, on_row: Callable[[Row], object]
    ) -> None:
        """Check all nodes; ``on_row`` gets each row as it comes, from other threads, in turn."""

    def send(self, target: str, request: Request) -> str:
        """Carry out an action on a profile or run; the id of what it starts, or what it did.

        Raises :class:`SourceError`.
        """


def lazy(make: Callable[[], Source]) -> Source:
    """``make``'s source, made by the first worker thread that needs it.

    The launcher's import takes half a second, for which the first frame does not wait.
    """
    return cast("Source", _Lazy(make))


class _Lazy:
    def __init__(self, make: Callable[[], Source]) -> None:
        self._make, self._source, self._lock = make, cast("Source | None", None), threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._source is None:
                self._source = self._make()
        return getattr(self._source, name)
