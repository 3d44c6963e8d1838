"""Messages from worker threads to screens; the newest state replaces older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tui.logs.log_window import LogFrame
from tui.model.checks import CheckBoard
from tui.model.run import HomeView, RunFrame
from tui.sources.source import PlanText

if TYPE_CHECKING:
    from launcher.client import ResumeChoice, Row


class _Latest(Message, bubble=False):
    """A message that replaces an unread one of its own kind."""

    def can_replace(self, message: Message) -> bool:
        """An older state is useless once there is a newer one."""
        return type(message) is type(self)


class HomePolled(_Latest):
    """Runs and profiles as they are now."""

    def __init__(self, view: HomeView) -> None:
        super().__init__()
        self.view = view


class RunPolled(_Latest):
    """The run as it is now."""

    def __init__(self, frame: RunFrame) -> None:
        super().__init__()
        self.frame = frame


class LogRead(_Latest):
    """The lines of the log's window."""

    def __init__(self, frame: LogFrame) -> None:
        super().__init__()
        self.frame = frame


class RestartChosen(_Latest):
    """Which checkpoint a resume would use."""

    def __init__(self, restart: ResumeChoice) -> None:
        super().__init__()
        self.restart = restart


class PlanMade(_Latest):
    """The plan of a new run, or why there is none."""

    def __init__(self, plan: PlanText | None, problem: str = "") -> None:
        super().__init__()
        self.plan = plan
        self.problem = problem


class ChecksStarted(Message, bubble=False):
    """A preflight started: ``board`` has its rows to come, ``number`` names the preflight."""

    def __init__(self, number: int, board: CheckBoard) -> None:
        super().__init__()
        self.number = number
        self.board = board


class RowChecked(Message, bubble=False):
    """A row of a preflight."""

    def __init__(self, number: int, row: Row) -> None:
        super().__init__()
        self.number = number
        self.row = row


class ChecksDone(Message, bubble=False):
    """A preflight is over; ``problem`` is why it could not be made."""

    def __init__(self, number: int, problem: str = "") -> None:
        super().__init__()
        self.number = number
        self.problem = problem


class SourceFailed(_Latest):
    """A poll failed; the screen keeps what it has and says so."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class ActionDone(Message, bubble=False):
    """An action (start, stop, resume, eval, export) was carried out."""

    def __init__(self, action: str, answer: str) -> None:
        super().__init__()
        self.action = action
        self.answer = answer


class ActionFailed(Message, bubble=False):
    """An action could not be carried out."""

    def __init__(self, action: str, problem: str) -> None:
        super().__init__()
        self.action = action
        self.problem = problem
