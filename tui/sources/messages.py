"""Messages from worker threads to screens; the newest state replaces older ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from tui.logs.log_window import LogFrame
from tui.model.checks import CheckBoard
from tui.model.run import ComparisonFrame, HomeView, RunFrame
from tui.sources.source import PlanText

if TYPE_CHECKING:
    from launcher.client import ResumeChoice


class _Latest(Message, bubble=False):
    """Replaces an unread message of its own kind."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


@dataclass
class HomePolled(_Latest):
    view: HomeView


@dataclass
class RunPolled(_Latest):
    frame: RunFrame


@dataclass
class ComparisonPolled(_Latest):
    frame: ComparisonFrame


@dataclass
class LogRead(_Latest):
    frame: LogFrame


@dataclass
class SourceFailed(_Latest):
    """A poll failed; the screen keeps what it has and shows the problem."""

    problem: str


@dataclass
class RestartChosen(_Latest):
    """Which checkpoint a resume would use."""

    restart: ResumeChoice


@dataclass
class _Numbered(_Latest):
    """The answer to one of several requests, which may overtake each other in their threads."""

    number: int

    def can_replace(self, message: Message) -> bool:
        """An answer to an older request is no newer state."""
        return super().can_replace(message) and self.number <= getattr(message, "number", -1)


@dataclass
class PlanMade(_Numbered):
    """The plan, or the ``problem`` why there is none."""

    plan: PlanText
    problem: str = ""


@dataclass
class ChecksChanged(_Numbered):
    """The rows so far of a preflight."""

    board: CheckBoard


@dataclass
class ActionDone(Message, bubble=False):
    """An action (start, stop, resume, eval, export) was carried out."""

    action: str
    answer: str


@dataclass
class ActionFailed(Message, bubble=False):
    """Work in the background failed."""

    action: str
    problem: str
