"""Why a rank is late, beside how late it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.model.run import SkewData

if TYPE_CHECKING:
    from launcher.core.diagnosis.lateness import LateRank

EVERY_S: Final = 2.0


class LateMaker:
    """Adds the cause to the words of the strip; looks for it every 2 s."""

    def __init__(self, late_ranks: Callable[[int | None], tuple[LateRank, ...]]) -> None:
        self._late_ranks = late_ranks
        self._known: tuple[LateRank, ...] = ()
        self._looked: tuple[int | None, float] = None, -EVERY_S

    def explained(self, skew: SkewData, attempt: int | None, now_s: float) -> SkewData:
        """A rank behind a slow link comes on time, so the cause may name one that the strip does
        not show.
        """
        if self._looked[0] != attempt or abs(now_s - self._looked[1]) >= EVERY_S:
            self._looked = attempt, now_s
            self._known = self._late_ranks(attempt)
        if not self._known:
            return skew
        same = next((late for late in self._known if late.rank == skew.worst_rank), None)
        if same is not None:
            return replace(skew, words=f"{skew.words}: {same.cause.value}: {same.evidence}")
        first = self._known[0]
        return replace(skew, words=first.words, worst_rank=first.rank)
