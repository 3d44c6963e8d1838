"""Asks all agents for the stacks of their ranks, and records what they mean."""

from __future__ import annotations

import json
import time

from launcher.core import messages
from launcher.core.diagnosis.stacks import RankStacks, StackDump, verdict
from launcher.core.plan.model import Plan
from launcher.core.run import events
from launcher.core.run.paths import AttemptPaths
from launcher.core.text.codec import to_plain
from launcher.process import private
from launcher.process.log import log_line
from launcher.store import atomic
from launcher.store.event_log import EventLog
from launcher.supervisor.agent_links import AgentLinks

LIMIT_S = 3.5
"""More than a rank and py-spy together get on a node."""
AGAIN_S = 10.0
"""Several ranks of one hang fall silent one after the other: their stacks are taken once."""


class StackRounds:
    """Of one attempt. A round is open from `ask` until each rank has answered."""

    def __init__(self, plan: Plan, links: AgentLinks, log: EventLog, paths: AttemptPaths) -> None:
        self._plan = plan
        self._links = links
        self._log = log
        self._paths = paths
        self._asked_s = 0.0
        self._why = ""
        self._until = 0.0
        self._found: dict[int, RankStacks] = {}
        self._done_at = -AGAIN_S
        self.words = ""
        """What the newest round found."""

    @property
    def is_open(self) -> bool:
        return self._until > 0.0

    def ask(self, why: str, *, is_silent: bool = False) -> None:
        """`is_silent`: because of a silent rank."""
        now = time.monotonic()
        if self.is_open or (is_silent and now - self._done_at < AGAIN_S):
            return
        self._asked_s, self._why, self._until = time.time(), why, now + LIMIT_S
        self._found = {}
        for link in self._links:
            if not link.is_over:
                self._links.send(link, messages.TakeStacks(self._asked_s))

    def add(self, report: messages.StacksOfRank) -> None:
        """One that answers an older request is ignored."""
        if self.is_open and report.asked_s == self._asked_s:
            self._found[report.stacks.rank] = report.stacks

    def turn(self, now: float) -> None:
        if self.is_open and (now >= self._until or not self._missing()):
            self._until = 0.0
            self._done_at = now
            self._record()

    def _missing(self) -> dict[int, str]:
        """Ranks that may still answer, and their nodes."""
        return {
            process.rank: link.name
            for link in self._links
            for process in link.plan.ranks
            if process.rank is not None
            and process.rank not in self._found
            and process.rank not in link.exited
            and link.channel is not None
            and not link.is_over
        }

    def _record(self) -> None:
        attempt, state = self._plan.attempt, self._log.state.attempt
        number = 1 + (state.stacks.number if state is not None and state.stacks else 0)
        late = [
            RankStacks(*item, why="its node did not answer") for item in self._missing().items()
        ]
        ranks = tuple(sorted((*self._found.values(), *late), key=lambda found: found.rank))
        if not ranks:
            return
        found = verdict(ranks)
        self.words = found.words
        dump = StackDump(attempt, number, self._asked_s, self._why, found, ranks)
        path = self._paths.stacks(number)
        try:
            private.make_folder(path.parent)
            atomic.write_file(path, json.dumps(to_plain(dump)) + "\n")
        except OSError as error:
            log_line(f"stacks cannot be written: {error}")
        self._log.add(events.StacksTaken(attempt, number, self._why, found.words, found.outliers))
