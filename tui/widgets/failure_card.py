"""What happened, in one card: who was first, what it means, what a resume would take."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual import events

from tui.drawing.text import clean, duration, fit
from tui.drawing.wording import headline, ranks_in_words, restart_words
from tui.model.run import Failure, Restart
from tui.widgets.lines import Line, LineView


def lines_wanted(failure: Failure) -> int:
    """How high the card would be with all it has to say; six last lines at most."""
    last = sum(bool(text.strip()) for text in failure.last_lines)
    return 4 + bool(failure.followers) + bool(failure.try_next) + min(last, 6)


class FailureCard(LineView):
    """Drawn above the ranks while the newest attempt is a failed one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._failure: Failure | None = None
        self._restart: Restart | None = None
        self._now = 0.0

    def show(self, failure: Failure, restart: Restart | None, now: float) -> None:
        """Draw this failure; ``restart`` is ``None`` while it is not known yet."""
        self._failure, self._restart, self._now = failure, restart, now
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer of the last lines fit."""
        self._draw()

    def _draw(self) -> None:
        failure, restart = self._failure, self._restart
        width, height = self.content_size
        if failure is None or width < 10 or height < 1:
            return
        palette = self.palette
        bar = Segment("▌ " if self.glyphs.level != "ascii" else "! ", palette.bad)

        def row(text: str, style: Style, key: str = "") -> Line:
            line = [bar]
            if key:
                line.append(Segment(f"{key} ", palette.key))
            room = width - 2 - (len(key) + 1 if key else 0)
            return [*line, Segment(fit(clean(text), room), style)]

        when = "" if failure.time is None else f", {duration(self._now - failure.time)} ago"
        lines = [row(headline(failure) + when, palette.bad)]
        lines.append(row(failure.meaning or "no rule of ours explains this end", palette.text))
        if failure.followers:
            words = ranks_in_words(failure.followers)
            lines.append(row(f"{words} merely followed", palette.muted))
        tail: list[Line] = []
        if failure.try_next:
            tail.append(row(failure.try_next, palette.text, "try"))
        possible = restart is not None and restart.possible
        tail.append(
            row(
                restart_words(restart),
                palette.good if restart is not None and restart.path else palette.warn,
                "r" if possible else "",
            )
        )
        if restart is not None and restart.command:
            tail.append(row(restart.command, palette.muted, "$"))
        room = height - len(lines) - len(tail)
        last = [text for text in failure.last_lines if text.strip()]
        if room > 0 and last:
            lines.extend(row(f"  {text}", palette.muted) for text in last[-room:])
        self.set_lines([*lines, *tail][:height])
