"""Two lines that answer: is it well, how far is it, when will it be done, how old is this."""

from __future__ import annotations

from rich.segment import Segment

from tui.drawing.text import age, clean, duration, fit, fit_middle, number
from tui.model.run import RunView, tone_of
from tui.widgets.lines import LineView


class RunHeader(LineView):
    """State and progress of the run. Height 2; ``show`` once a frame."""

    def show(self, view: RunView, badge: str, delay_s: float = 0.0) -> None:
        """Draw this moment.

        ``badge`` says how fast and from where frames come (``4 Hz``, ``replay 8x``); ``delay_s``
        is how long this view has been waiting for the next one.
        """
        width = self.content_size.width
        if width <= 0:
            return
        self.set_lines([self._first(view, badge, delay_s, width), self._second(view, width)])

    def _first(self, view: RunView, badge: str, delay_s: float, width: int) -> list[Segment]:
        palette = self.palette
        state = f" {view.state.upper()} "
        old = None if view.age_s is None else view.age_s + delay_s
        right = f"data {age(old)} old  {badge} " if view.live else f"{badge} "
        attempt = "" if view.attempt is None else f"  attempt {view.attempt}"
        room = width - len(state) - len(right) - len(attempt) - 2
        name = fit_middle(clean(view.id), max(room, 8))
        late = view.live and old is not None and old > 5
        line = [
            Segment(state, palette.badge(tone_of(view.state))),
            Segment(f" {name}", palette.title),
            Segment(attempt, palette.text),
        ]
        used = len(state) + 1 + len(name) + len(attempt)
        line.append(Segment(" " * max(width - used - len(right), 0)))
        line.append(Segment(right, palette.warn if late else palette.muted))
        return line

    def _second(self, view: RunView, width: int) -> list[Segment]:
        palette, glyphs = self.palette, self.glyphs
        done, total = view.done_steps, view.total_steps
        parts: list[tuple[str, bool]] = []
        if view.epochs and view.epoch is not None:
            parts.append((f"epoch {min(view.epoch + 1, view.epochs)}/{view.epochs}", True))
        if view.steps_per_epoch and view.step is not None:
            parts.append((f"step {view.step}/{view.steps_per_epoch}", True))
        left = " " + "  ".join(text for text, _ in parts)
        words = clean(view.worst or view.note)
        narrow = width < 100
        if narrow and view.worst:
            words = clean(view.worst_short)
        figures = []
        if view.live and view.state != "starting":
            figures.append(f"ETA {duration(view.eta_s)}")
        if view.images_per_s is not None or not words:
            figures.append(f"{number(view.images_per_s)} images/s")
        if not (narrow and words) and (view.loss is not None or not words):
            figures.append(f"loss {number(view.loss, 4)}")
        right = "  ".join(figures)
        # The bar takes what is left, up to 30 cells; words about the worst rank go last.
        share = None if done is None or not total else min(done / total, 1.0)
        room = width - len(left) - len(right) - 4 - (24 if words else 0)
        bar_width = max(min(room - 6, 30), 0) if share is not None else 0
        line = [Segment(left, palette.text)]
        used = len(left)
        if share is not None and bar_width < 6:
            text = f"  {share:.0%}"
            line.append(Segment(text, palette.text))
            used += len(text)
        elif share is not None:
            full = int(share * bar_width)
            line.append(Segment("  "))
            line.append(Segment(glyphs.bar_full * full, palette.accent))
            line.append(Segment(glyphs.bar_empty * (bar_width - full), palette.muted))
            text = f" {share:4.0%}"
            line.append(Segment(text, palette.text))
            used += 2 + bar_width + len(text)
        line.append(Segment(f"  {right}", palette.text))
        used += 2 + len(right)
        if words and width - used > 12:
            line.append(Segment("  " + fit(words, width - used - 2), palette.warn))
        return line
