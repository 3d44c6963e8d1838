"""The end of a run in one card: how long it took, in how many attempts, and its best accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.segment import Segment

from launcher.core.run.outcome import outcome_words
from tui.context import context_of
from tui.drawing.text import clean, fit
from tui.model.run import tone_of
from tui.widgets.lines import LineView

if TYPE_CHECKING:
    from launcher.client import RunSnapshot

LINES: Final = 3


class SummaryCard(LineView):
    """Drawn above the ranks when the run is over and did not fail."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._run: RunSnapshot | None = None

    def show(self, run: RunSnapshot) -> None:
        self._run = run
        self.draw()

    def draw(self) -> None:
        run, width = self._run, self.content_size.width
        if run is None or width < 10:
            return
        palette, again = self.palette, context_of(self).again
        ended, best = outcome_words(run.outcome, run.status.value)
        tone = palette.by_tone(tone_of(run.status))
        edge = Segment(f"{self.glyphs.edge} ", tone)
        last = Segment("t ", palette.title), "results and checkpoints"
        if again:
            last = Segment("$ ", palette.title), f"{again} plays it again"
        room = width - 2
        self.set_lines(
            [
                [edge, Segment(fit(ended, room), tone)],
                [edge, Segment(fit(clean(best), room), palette.text)],
                [edge, last[0], Segment(fit(clean(last[1]), room - 2), palette.text)],
            ]
        )
