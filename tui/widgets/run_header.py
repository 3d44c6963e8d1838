"""Two lines: is the run healthy, how far is it, when will it finish, how old are the figures."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment

from tui.drawing.text import age, clean, duration, fit, fit_middle, number
from tui.drawing.wording import activity, run_note, without_node, worst
from tui.model.derived import is_live, loss_of, position
from tui.model.run import RunFrame, tone_of
from tui.widgets.lines import LineView


class RunHeader(LineView):
    """State and progress of the run. Height 2; ``show`` once a frame."""

    def show(self, frame: RunFrame, badge: str, delay_s: float = 0.0) -> None:
        """Draw this moment.

        ``badge`` says how fast and from where frames come (``4 Hz``, ``replay 8x``); ``delay_s``
        is how long this frame has been waiting for the next one.
        """
        width = self.content_size.width
        if width <= 0:
            return
        self.set_lines([self._first(frame, badge, delay_s, width), self._second(frame, width)])

    def _first(self, frame: RunFrame, badge: str, delay_s: float, width: int) -> list[Segment]:
        palette, run = self.palette, frame.snapshot
        live = is_live(run.status)
        state = f" {run.status.value.upper()} "
        old = None if run.age_s is None else run.age_s + delay_s
        right = f"data {age(old)} old  {badge} " if live else f"{badge} "
        attempt = "" if run.attempt is None else f"  attempt {run.attempt}"
        room = width - len(state) - len(right) - len(attempt) - 2
        note = clean(run_note(run))
        # With a note, the id gives up what it does not need to be recognised.
        name = fit_middle(clean(run.run), max(min(room, 17 if note and width < 100 else room), 8))
        late = live and old is not None and old > 5
        line = [
            Segment(state, palette.badge(tone_of(run.status))),
            Segment(f" {name}", palette.title),
            Segment(attempt, palette.text),
        ]
        used = len(state) + 1 + len(name) + len(attempt)
        left = width - used - len(right) - 3
        if note and left >= 6:
            text = fit(note, left).rstrip()
            line.append(Segment(f"  {text}", palette.muted))
            used += 2 + cell_len(text)
        line.append(Segment(" " * max(width - used - len(right), 0)))
        line.append(Segment(right, palette.warn if late else palette.muted))
        return line

    def _second(self, frame: RunFrame, width: int) -> list[Segment]:
        palette, glyphs, run = self.palette, self.glyphs, frame.snapshot
        epoch, step = position(run)
        left = ""
        if run.epochs and epoch is not None:
            left += f" epoch {epoch + 1}/{run.epochs} "
        if run.steps_per_epoch and step is not None:
            left += f" step {step}/{run.steps_per_epoch}"
        _, fault = worst(frame)
        narrow = width < 100
        words = clean((without_node(fault) if narrow else fault) or activity(frame))
        loss = loss_of(run)
        figures = []
        if is_live(run.status) and run.status != "starting":
            figures.append(f"ETA {duration(run.eta_s)}")
        if run.images_per_s is not None or not words:
            figures.append(f"{number(run.images_per_s)} images/s")
        if not (narrow and words) and (loss is not None or not words):
            figures.append(f"loss {number(loss, 4)}")
        right = "  ".join(figures)
        # The bar uses what is left, up to 30 cells; words about the worst rank go last.
        share = run.progress
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
