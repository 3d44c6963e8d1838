"""What has died in an attempt, from the first death to the verdict: what was the cause."""

from __future__ import annotations

import time
from collections.abc import Iterable

from launcher.core.diagnosis.failure import Death, has_cause, name_failure
from launcher.core.plan.model import Plan
from launcher.core.run.events import Failure
from launcher.supervisor.agent_link import AgentLink

SETTLE_S = 0.25
"""Between the first death and the verdict: what other nodes saw at the same time belongs to it."""

DOUBT_S = 2.0
"""How much longer the verdict waits for a node that does not answer."""

LOST_PEERS_DOUBT_S = 10.0
"""The same while all that is known are ranks that lost their peers: the cause is elsewhere."""


class Verdict:
    """The deaths of one attempt."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._deaths: list[Death] = []
        self._has_cause = False
        self._decide_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether something has died."""
        return self._decide_at is not None

    def add(self, death: Death) -> bool:
        """-> whether it is the first."""
        self._deaths.append(death)
        self._has_cause = self._has_cause or has_cause((death,))
        if self._decide_at is not None:
            return False
        self._decide_at = time.monotonic() + SETTLE_S
        return True

    def drop(self) -> None:
        """What died so far is no failure."""
        self._deaths.clear()
        self._has_cause = False
        self._decide_at = None

    def is_due(self, now: float, links: Iterable[AgentLink]) -> bool:
        """Whether each node has answered since the first death, so that none died before it."""
        if self._decide_at is None or now < self._decide_at:
            return False
        if not any(link.is_in_doubt for link in links):
            return True
        waited_s = now - self._decide_at
        return waited_s >= LOST_PEERS_DOUBT_S or (waited_s >= DOUBT_S and self._has_cause)

    def failure(self) -> Failure:
        """What was the cause."""
        nodes = {node.address: node.name for node in self._plan.nodes}
        nodes |= {node.name: node.name for node in self._plan.nodes}
        ranks = tuple(rank.rank for rank in self._plan.ranks if rank.rank is not None)
        return name_failure(self._deaths, ranks, nodes)
