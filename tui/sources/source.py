"""What the dashboard needs from below, as two small surfaces that tests can stand in for.

``tui.sources.live`` fills them from ``launcher.client``; ``tui.sources.replay`` from a run
directory and a clock of its own. Every call may touch files or
sockets, so each is made from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tui.logs.log_source import LogSource
from tui.model.checks import Check
from tui.model.run import FrameRequest, HomeView, RunFrame

if TYPE_CHECKING:
    from launcher.client import ResumeChoice

DATA_PATH: Final = "data_path"  # among the overrides: the data folder, not a training key
IGNORE: Final = "ignore"  # among the overrides: red checks that were named, with spaces between
SHARE_DEVICE: Final = "share_device"  # a job's option, ``YES`` or left out
SAVE: Final = "save"  # an option of stop, ``NO`` or left out
YES: Final = "yes"
NO: Final = "no"


class SourceError(Exception):
    """What the user asked for is not there or could not be done; the text says what and why."""


@dataclass(frozen=True, slots=True)
class PlanText:
    """A launch plan, ready to read: sections of a title and lines, and the command that does it."""

    sections: tuple[tuple[str, tuple[str, ...]], ...]
    command: str


class Player(Protocol):
    """What a replay can be told."""

    @property
    def badge(self) -> str:
        """Where it stands and how fast it plays."""

    def pause(self) -> None:
        """Stop, or go on."""

    def seek(self, by_s: float) -> None:
        """Forth or back, in seconds of the run."""

    def faster(self, by: int) -> None:
        """The next speed, up or down."""


class RunSource(Protocol):
    """One run."""

    @property
    def player(self) -> Player | None:
        """Set when this is a replay."""

    def frame(self, request: FrameRequest) -> RunFrame:
        """What is known now; raises :class:`SourceError` when the run is gone."""

    def log(self, rank: int | None) -> LogSource:
        """The log of a rank of the newest attempt; ``None``: of the supervisor."""

    def merged_log(self, ranks: Sequence[int]) -> LogSource:
        """The logs of several ranks of the newest attempt as one, by time."""

    def restart(self) -> ResumeChoice:
        """The checkpoint for a resume: reads and verifies it, so it may take seconds.

        In a replay: the checkpoint that the run was resumed from.
        """


class Source(Protocol):
    """All that the dashboard can see and do."""

    def home(self) -> HomeView:
        """Runs and profiles."""

    def open(self, name: str) -> RunSource:
        """A run by id, unique prefix, path, or ``latest``; raises :class:`SourceError`."""

    def plan(self, profile: str, overrides: Mapping[str, str]) -> PlanText:
        """What a start would write and run; raises :class:`SourceError` naming every error."""

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        """(check, node) of every row of a preflight, in the order of showing."""

    def preflight(
        self, profile: str, overrides: Mapping[str, str], take: Callable[[Check], object]
    ) -> None:
        """Ask all nodes; ``take`` hears of each row as it comes, from other threads, in turn."""

    def start(self, profile: str, overrides: Mapping[str, str]) -> str:
        """Start a run; its id."""

    def stop(self, run: str, save: bool) -> str:
        """Ask a run to end; what to tell the user."""

    def resume(self, run: str) -> str:
        """Open a new attempt; what to tell the user."""

    def start_job(self, run: str, kind: str, options: Mapping[str, str]) -> str:
        """Start ``eval``, ``export`` or ``infer``; the job's id."""

    def command(self, action: str, target: str, options: Mapping[str, str]) -> str:
        """The ``effnet-launch`` command line that does the same as an action."""


@dataclass(frozen=True, slots=True)
class JobField:
    """One thing to fill in before a job starts."""

    name: str
    title: str
    default: str = ""
    choices: Sequence[tuple[str, str]] = field(default_factory=tuple)  # value, label
    hint: str = ""  # what an empty field means
