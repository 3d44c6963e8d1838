"""The processes of a node that import for its ranks and fork them, in one attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher.core.plan.model import PlannedProcess
from launcher.process import ownership
from launcher.process.forking import Forks, Warm
from launcher.process.spawn import Exit, SpawnedProcess


@dataclass(frozen=True)
class NotForked:
    """Ranks that are the caller's now. `was_warm`: their parent had waited for this attempt."""

    ranks: tuple[PlannedProcess, ...]
    why: str
    was_warm: bool


class Parents:
    """`warm`: those that waited for this attempt. `stay`: whether these wait for the next one."""

    def __init__(self, token: str, log: str, warm: Sequence[Warm], *, stay: bool) -> None:
        self._token = token
        self._log = log
        self._warm = list(warm)
        self._stay = stay
        self._forks: list[Forks] = []

    def start(self, group: Sequence[PlannedProcess]) -> SpawnedProcess:
        """The parent of these ranks: one that waited, or a new one. Raises `OSError`."""
        warm = self._next_warm()
        found = Forks(group, self._token, self._log, warm=warm, stays=self._stay)
        self._forks.append(found)
        return found.parent

    def _next_warm(self) -> Warm | None:
        while self._warm:
            warm = self._warm.pop(0)
            if ownership.is_alive(warm.pid, None):  # our child: nobody else gets its pid
                return warm
            warm.channel.close()
        return None

    def take(self, parent: SpawnedProcess | None, how: Exit | None) -> Iterator[SpawnedProcess]:
        """The ranks that were forked since. `parent` has ended, and `how`."""
        for found in self._forks:
            yield from found.take(how if found.parent is parent else None)

    def importing(self) -> SpawnedProcess | None:
        """One that has forked none of its ranks yet, and had not imported before."""
        new = (found for found in self._forks if not found.is_warm)
        return next((found.parent for found in new if found.has_forked_none), None)

    def refused(self) -> Iterator[NotForked]:
        """Ranks that will not be forked by the parent that they had."""
        for found in list(self._forks):
            if found.problem and (left := found.give_up()):
                yield NotForked(tuple(left), found.problem, found.is_warm)

    def spare(self) -> list[Warm]:
        """Those that wait for the next attempt: they have forked all of their ranks."""
        return [warm for found in self._forks if (warm := found.warm) is not None]

    def let_go(self) -> None:
        """None of them waits for another attempt any more."""
        for found in self._forks:
            found.let_go()

    def drop_unused(self) -> None:
        """Ends those that waited for more groups than there are."""
        while (warm := self._next_warm()) is not None:
            warm.kill()
            warm.channel.close()
