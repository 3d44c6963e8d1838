"""Termination everything of one attempt on one node, step by step, without blocking the agent."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from launcher.process import ownership
from launcher.process.ownership import Claim, Process


class Stage(str, Enum):
    WAIT = "wait"
    TERM = "term"
    KILL = "kill"
    OVER = "over"


@dataclass(frozen=True)
class GracePeriods:
    """Seconds for each stage."""

    wait_s: float
    term_s: float
    kill_s: float


class Termination:
    """WAIT (they leave by themselves) → SIGTERM → SIGKILL → a last look: `leftover`.

    `claim` is asked for at each look, because ranks may still be forking.
    """

    def __init__(self, claim: Callable[[], Claim], grace: GracePeriods, now: float) -> None:
        self._claim = claim
        self._grace = grace
        self._signalled: set[Process] = set()
        self._deadline = now + grace.wait_s
        self.stage = Stage.WAIT
        self.leftover: tuple[int, ...] = ()
        self.was_forced = False
        """Whether anything had to be killed."""

    def shorten(self, grace: GracePeriods, now: float) -> None:
        """Takes the earlier of the old deadline and the new one; never goes back a stage."""
        self._grace = grace
        limits = {Stage.WAIT: grace.wait_s, Stage.TERM: grace.term_s}
        if self.stage in limits:
            self._deadline = min(self._deadline, now + limits[self.stage])

    def step(self, now: float) -> bool:
        """One step. -> True when it is over."""
        if self.stage is Stage.OVER:
            return True
        left = ownership.owned(self._claim())
        if not left:
            self._finish(())
        elif self.stage is Stage.WAIT and now >= self._deadline:
            self.stage, self._deadline = Stage.TERM, now + self._grace.term_s
        elif self.stage is Stage.TERM and now >= self._deadline:
            self.stage, self._deadline = Stage.KILL, now + self._grace.kill_s
        elif self.stage is Stage.KILL and now >= self._deadline:
            self._finish(tuple(process.pid for process in left))
        if self.stage is Stage.TERM:
            ownership.signal_new(left, self._signalled, signal.SIGTERM)
        elif self.stage is Stage.KILL:
            self.was_forced = True
            for process in left:
                ownership.send_signal(process, signal.SIGKILL)
        return self.stage is Stage.OVER

    def _finish(self, leftover: tuple[int, ...]) -> None:
        self.stage = Stage.OVER
        self.leftover = leftover
