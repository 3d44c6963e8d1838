"""Nodes of a run beside those of its ranks: left out, with copies, or with processes that wait."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.core.run.events import KeptProcess
from launcher.core.text.figures import plural, time_of_day


@dataclass(frozen=True)
class LeftOutNode:
    """A node that was left out after ``attempt``, until a resume takes it back.

    ``spare`` has its place; empty: no node has.
    """

    node: str
    spare: str
    attempt: int
    why: str
    since_s: float
    answers_s: float | None = None
    """Since when it is known to answer: Unix time; ``None`` where nobody knows that."""

    @property
    def words(self) -> str:
        """What has its place, and whether it could be used again."""
        back = "answers" if self.answers_s is not None else "does not answer"
        if not self.spare:
            return f"the run continues without {self.node}, which {back}"
        return f"{self.spare} has the place of {self.node}, which {back}"

    def hint(self, run: str) -> str:
        """How to use it again."""
        start = "To use it again" if self.answers_s is not None else "To use it when it answers"
        return f"{start}: stop the run, then effnet-launch resume {run} --take-back"


@dataclass(frozen=True)
class KeptState:
    """Processes of a failed run that wait for its next attempt, until then (Unix time)."""

    attempt: int
    processes: tuple[KeptProcess, ...]
    until_s: float

    @property
    def what(self) -> str:
        """How many, and where."""
        nodes = list(dict.fromkeys(process.node for process in self.processes))
        where = nodes[0] if len(nodes) == 1 else plural(len(nodes), "node")
        return f"{plural(len(self.processes), 'process')} on {where}"

    @property
    def them(self) -> str:
        return "it" if len(self.processes) == 1 else "them"

    @property
    def words(self) -> str:
        """The same, and until when."""
        until = time_of_day(self.until_s)
        waits = "waits" if len(self.processes) == 1 else "wait"
        return f"{self.what} {waits} until {until} for the next attempt"

    def hint(self, run: str) -> str:
        """What becomes of them."""
        use, end = f"effnet-launch resume {run}", f"effnet-launch stop {run}"
        return f"{use} uses {self.them}, {end} ends {self.them}"


@dataclass(frozen=True)
class CopyState:
    """The newest copy of a checkpoint on another node, and why there is none since."""

    node: str
    attempt: int = 0
    step: int | None = None
    path: str = ""
    time_s: float | None = None
    why: str = ""
    """Why the newest checkpoint has no copy there; empty where it has, or soon will."""

    @property
    def words(self) -> str:
        """The newest copy, and where it is."""
        if self.step is None:
            return f"no checkpoint is copied to {self.node}"
        return f"copied to {self.node}: {self.path}"
