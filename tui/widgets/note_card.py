"""A few lines above the ranks: how a run ended, or what can be done about one that hangs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment

from launcher.core.diagnosis.words import hang_hint
from launcher.core.run.outcome import outcome_words
from tui.context import context_of
from tui.drawing.text import clean, fit
from tui.model.derived import failure_of, is_done
from tui.model.run import tone_of
from tui.widgets.lines import LineView

if TYPE_CHECKING:
    from launcher.client import RunSnapshot
    from launcher.core.run.state import Hang


@dataclass(frozen=True)
class Row:
    """`key`: what to press, or `$` before a command."""

    text: str
    key: str = ""


def rows_of(run: RunSnapshot, again: str = "") -> list[Row]:
    """None where there is nothing to say, or a failure, which has a card of its own.

    `again` is the command that plays a demo again.
    """
    if failure_of(run) is not None:
        return []
    if is_done(run):
        ended, best = outcome_words(run.outcome, run.status.value, run.stopped_by)
        if run.is_watched:
            return [Row(ended)]
        last = Row(f"{again} plays it again", "$") if again else Row("results and checkpoints", "t")
        return [Row(ended), Row(best), last]
    if run.hang is None or run.is_earlier:
        return []
    return [Row(hang_hint(run.hang, ""))] if run.is_watched else _hang_rows(run.hang)


def _hang_rows(hang: Hang) -> list[Row]:
    if "is stopped" in hang.why:
        first = Row(f"kill -CONT {hang.pid} on {hang.node} continues it", "$")
    else:
        first = Row("where all ranks are: their stacks, the one that differs first", "d")
    return [first, Row("stop it; then r: resume from the newest checkpoint", "s")]


class NoteCard(LineView):
    """Takes no space where `rows_of` has none."""

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
        palette = self.palette
        tone = palette.bad if run.hang is not None else palette.by_tone(tone_of(run.status))
        lines = []
        for number, row in enumerate(rows_of(run, context_of(self).again)):
            line = [Segment(f"{self.glyphs.edge} ", tone)]
            if row.key:
                line.append(Segment(f"{row.key} ", palette.title))
            style = tone if is_done(run) and not number else palette.text
            room = width - 2 - 2 * bool(row.key)
            lines.append([*line, Segment(fit(clean(row.text), room), style)])
        self.set_lines(lines)
