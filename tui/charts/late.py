"""Why a rank is late, beside how late it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.model.run import SkewData

if TYPE_CHECKING:
    from launcher.core.diagnosis.lateness import LateRank

EVERY_S: Final = 4.0


class LateMaker:
    """Adds the cause to the words of the strip; looks for it every 4 s, where reports came."""

    def __init__(self, late_ranks: Callable[[int | None], tuple[LateRank, ...]]) -> None:
        self._late_ranks = late_ranks
        self._known: tuple[LateRank, ...] = ()
        self._seen: tuple[int | None, float | None] | None = None
        self._due_s = -EVERY_S

    def explained(
        self, skew: SkewData, attempt: int | None, data_s: float | None, now_s: float
    ) -> SkewData:
        """`data_s` is when the newest data of the attempt came; without any since, nothing is read.

        A rank behind a slow link comes on time, so the cause may name one that the strip does
        not show.
        """
        seen = attempt, data_s
        is_other = self._seen is None or self._seen[0] != attempt
        # A replay may go back.
        is_due = seen != self._seen and not self._due_s - EVERY_S <= now_s < self._due_s
        if is_other or is_due:
            self._seen, self._due_s = seen, now_s + EVERY_S
            self._known = self._late_ranks(attempt)
        if not self._known:
            return skew
        same = next((late for late in self._known if late.rank == skew.worst_rank), None)
        if same is not None:
            return replace(skew, words=f"{skew.words}: {same.cause.value}: {same.evidence}")
        first = self._known[0]
        return replace(skew, words=first.words, worst_rank=first.rank)
