"""The keys that matter now, in one line that they fill: what does not fit is in ``?``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.segment import Segment

from tui.widgets.lines import LineView, filled

Hint = tuple[str, str]
KEPT: Final = 2  # the last hints (help, quit) are shown at every width


def fitting(hints: Sequence[Hint], width: int) -> list[Hint]:
    """The hints that fit: always the last two, then every one for which there is room."""
    kept = list(hints[-KEPT:])
    room = width - sum(_cells(hint) for hint in kept)
    chosen: list[Hint] = []
    for hint in hints[:-KEPT]:
        if _cells(hint) <= room:
            room -= _cells(hint)
            chosen.append(hint)
    return chosen + kept


def _cells(hint: Hint) -> int:
    return len(hint[0]) + len(hint[1]) + 4


class HintBar(LineView):
    """Docked at the bottom; the most useful hints come first."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._hints: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint]) -> None:
        """``hints``: (key, what it does)."""
        self._hints = hints
        self.draw()

    def draw(self) -> None:
        palette, width = self.palette, self.content_size.width
        line: list[Segment] = []
        for key, what in fitting(self._hints, width):
            line += [Segment(f" {key}", palette.title), Segment(f" {what}  ", palette.text)]
        self.set_lines([filled(line, width)])
