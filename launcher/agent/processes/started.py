"""The processes that an agent has started in one attempt, and those of them that live."""

from __future__ import annotations

import os
import selectors
from collections.abc import Mapping

from launcher.agent.processes.parents import Parents
from launcher.core.run.events import KeptProcess
from launcher.process.forking import Warm
from launcher.process.ownership import Claim
from launcher.process.spawn import SpawnedProcess


class Started:
    """By pid. Each end is an event of `selector`, with the pid as its data."""

    def __init__(self, token: str, parents: Parents, selector: selectors.BaseSelector) -> None:
        self._token = token
        self._parents = parents
        self._selector = selector
        self._all: dict[int, SpawnedProcess] = {}
        self.living: dict[int, SpawnedProcess] = {}

    def await_end(self, started: SpawnedProcess) -> None:
        """Only of a child of this process."""
        pidfd = os.pidfd_open(started.pid)
        self._selector.register(pidfd, selectors.EVENT_READ, started.pid)

    def add(self, started: SpawnedProcess) -> None:
        self._all[started.pid] = self.living[started.pid] = started

    def rank_pids(self) -> Mapping[int, int]:
        """The ranks that live now -> their pids."""
        return {
            started.process.rank: pid
            for pid, started in list(self.living.items())
            if started.process.rank is not None
        }

    @property
    def warm(self) -> list[Warm]:
        """What a failed attempt keeps for the next one."""
        return [warm for warm in self._parents.spare() if warm.pid in self.living]

    def kept(self, node: str) -> tuple[KeptProcess, ...]:
        """The same, as people are told of it."""
        return tuple(KeptProcess(node, w.pid, self.living[w.pid].start_time_s) for w in self.warm)

    def claim(self) -> Claim:
        """All that is to end with the attempt, and what it has started itself."""
        return Claim(
            token=self._token,
            # A list: the thread that looks for shared memory asks for this, too.
            sessions=tuple((p, started.start_ticks) for p, started in list(self._all.items())),
            root=os.getpid(),
            spare=frozenset(warm.pid for warm in self.warm),
        )

    def are_children_left(self) -> bool:
        """Whether one lives that is to end, and whose end this process sees itself."""
        kept = {warm.pid for warm in self.warm}
        return any(p not in kept and s.process.is_started for p, s in self.living.items())
