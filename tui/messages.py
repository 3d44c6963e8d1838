"""What worker threads tell the screens; the newest state replaces older ones."""

from __future__ import annotations

from textual.message import Message

from tui.log_window import LogFrame
from tui.model import HomeView, Restart, RunFrame
from tui.source import PlanText


class _Latest(Message, bubble=False):
    """A message that an unread one of its own kind gives way to."""

    def can_replace(self, message: Message) -> bool:
        """An older state is of no use once there is a newer one."""
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
    """Which checkpoint a resume would take."""

    def __init__(self, restart: Restart) -> None:
        super().__init__()
        self.restart = restart


class PlanMade(_Latest):
    """The plan of a new run, or why there is none."""

    def __init__(self, plan: PlanText | None, problem: str = "") -> None:
        super().__init__()
        self.plan = plan
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
