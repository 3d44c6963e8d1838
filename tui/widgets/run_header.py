"""Two lines: state and progress of the run, when it will finish, how old the figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from launcher.core.text.figures import age, duration, number, percent
from tui.drawing.text import clean, fit, fit_middle
from tui.drawing.wording import activity, run_note, without_node, worst
from tui.model.derived import is_live, loss_of, position
from tui.model.run import RunFrame, tone_of
from tui.widgets.lines import LineView, cells, filled

if TYPE_CHECKING:
    from launcher.client import RunSnapshot


class RunHeader(LineView):
    """``show`` is called once a frame."""

    def show(self, frame: RunFrame, badge: str, delay_s: float = 0.0) -> None:
        """``badge``: how fast frames come, and from where (``4 Hz``, ``replay 8x``); ``delay_s``:
        the age of this frame."""
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
        # A note leaves the id only the width that it needs to be recognised.
        name = fit_middle(clean(run.run), max(min(room, 17 if note and width < 100 else room), 8))
        late = live and old is not None and old > 5
        line = [
            Segment(state, palette.badges[tone_of(run.status)]),
            Segment(f" {name}", palette.title),
            Segment(attempt, palette.text),
        ]
        left = width - cells(line) - len(right) - 3
        if note and left >= 6:
            line.append(Segment(f"  {fit(note, left).rstrip()}", palette.muted))
        style = palette.warn if late else palette.muted
        return [*filled(line, width - len(right)), Segment(right, style)]

    def _second(self, frame: RunFrame, width: int) -> list[Segment]:
        palette, run = self.palette, frame.snapshot
        epoch, step = position(run)
        left = ""
        if run.epochs and epoch is not None:
            left += f" epoch {epoch + 1}/{run.epochs} "
        if run.steps_per_epoch and step is not None:
            left += f" step {step}/{run.steps_per_epoch}"
        fault, narrow = worst(frame)[1], width < 100
        words = clean((without_node(fault) if narrow else fault) or activity(frame))
        figures = self._figures(run, bool(words), narrow)
        # The bar uses what is left, up to 30 cells; 24 are kept for words.
        room = width - len(left) - len(figures) - 4 - (24 if words else 0)
        line = [
            Segment(left, palette.text),
            *self._progress(run.progress, max(min(room - 7, 30), 0)),
            Segment(f"  {figures}", palette.text),
        ]
        room = width - cells(line) - 2
        if words and room > 10:
            line.append(Segment(f"  {fit(words, room)}", palette.warn))
        return line

    def _figures(self, run: RunSnapshot, has_words: bool, narrow: bool) -> str:
        """ETA, throughput and loss, as far as there is room beside the words."""
        loss = loss_of(run)
        figures = []
        if is_live(run.status) and run.status != "starting":
            figures.append(f"ETA {duration(run.eta_s)}")
        if run.images_per_s is not None or not has_words:
            figures.append(f"{number(run.images_per_s)} images/s")
        if not (narrow and has_words) and (loss is not None or not has_words):
            figures.append(f"loss {number(loss, 4)}")
        return "  ".join(figures)

    def _progress(self, share: float | None, width: int) -> list[Segment]:
        palette, glyphs = self.palette, self.glyphs
        if share is None:
            return []
        if width < 6:
            return [Segment(f"  {percent(share)}", palette.text)]
        full = int(share * width)
        return [
            Segment(f"  {glyphs.bar_full * full}", palette.accent),
            Segment(glyphs.bar_empty * (width - full), palette.muted),
            Segment(f" {percent(share):>5}", palette.text),
        ]
