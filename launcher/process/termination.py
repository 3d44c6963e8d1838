"""Ends every process of one attempt on one node, step by step, without blocking the agent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from launcher.process import ownership
from launcher.process.ownership import Claim, Process

POLL_S = 0.02


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
    """WAIT (they exit by themselves) → SIGTERM → SIGKILL → OVER, with what is `leftover`.

    `claim` is called in each step, because ranks may still be forking.
    """

    def __init__(self, claim: Callable[[], Claim], grace: GracePeriods, now: float) -> None:
        self._claim = claim
        self._grace = grace
        self._signalled: set[Process] = set()
        self._deadline = now + grace.wait_s
        self.stage = Stage.WAIT
        self.leftover: tuple[int, ...] = ()

    def shorten(self, grace: GracePeriods, now: float) -> None:
        """The deadline becomes the earlier of the two; the stage stays."""
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
            for process in left:
                ownership.send_signal(process, signal.SIGKILL)
        return self.stage is Stage.OVER

    def _finish(self, leftover: tuple[int, ...]) -> None:
        self.stage = Stage.OVER
        self.leftover = leftover


def end_all(
    claim: Claim, term_s: float, kill_s: float, reap: Callable[[], object] = lambda: None
) -> tuple[int, ...]:
    """SIGTERM, and after `term_s` SIGKILL for up to `kill_s`. -> pids that are still there.

    `reap` is called in each step, for a caller whose own children are among them.
    """
    grace = GracePeriods(0.0, term_s, kill_s)
    termination = Termination(lambda: claim, grace, time.monotonic())
    while not termination.step(time.monotonic()):
        time.sleep(POLL_S)
        reap()
    return termination.leftover
