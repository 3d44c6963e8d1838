"""The keys that matter now, in one line, at every width: what does not fit is in ``?``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.segment import Segment
from textual import events

from tui.drawing.text import fit
from tui.widgets.lines import LineView

Hint = tuple[str, str]
KEPT: Final = 2  # the last hints (help, leave) have their place at every width


def fitting(hints: Sequence[Hint], width: int) -> list[Hint]:
    """The hints that fit: the last two always, of the others the first ones."""
    kept = list(hints[-KEPT:])
    room = width - sum(_cells(hint) for hint in kept)
    chosen: list[Hint] = []
    for hint in hints[:-KEPT]:
        room -= _cells(hint)
        if room < 0:
            break
        chosen.append(hint)
    return chosen + kept


def _cells(hint: Hint) -> int:
    return len(hint[0]) + len(hint[1]) + 4


class HintBar(LineView):
    """Docked at the bottom; hints come in their order of worth."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint]) -> None:
        """Show these ``(key, what it does)`` pairs."""
        self._hints = hints
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer hints fit."""
        self._draw()

    def _draw(self) -> None:
        width = self.content_size.width
        palette = self.palette
        line: list[Segment] = []
        used = 0
        for key, what in fitting(self._hints, width):
            line += [Segment(f" {key}", palette.key), Segment(f" {what}  ", palette.text)]
            used += _cells((key, what))
        line.append(Segment(fit("", max(width - used, 0))))
        self.set_lines([line])
