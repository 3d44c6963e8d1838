"""The keys that matter now, in one line, at every width: what does not fit is in ``?``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events

from tui.text import fit
from tui.widgets.lines import LineView

Hint = tuple[str, str]


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
        for key, what in self._hints:
            need = len(key) + len(what) + 4
            if used + need > width:
                break
            line += [Segment(f" {key}", palette.key), Segment(f" {what}  ", palette.text)]
            used += need
        line.append(Segment(fit("", max(width - used, 0))))
        self.set_lines([line])
