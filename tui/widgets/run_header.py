"""Two lines: state and progress of the run, when it will finish, how old the figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from launcher.core.diagnosis.words import hang_words
from launcher.core.text.figures import age, duration, number, percent
from tui.drawing.attempts import earlier_words, next_words
from tui.drawing.text import clean, fit, fit_middle
from tui.drawing.wording import activity, run_note, without_node, worst
from tui.model.derived import is_live, losses_of
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
        if frame.snapshot.is_earlier:
            self.set_lines(self._earlier(frame.snapshot, badge, width))
            return
        self.set_lines([self._first(frame, badge, delay_s, width), self._second(frame, width)])

    def _earlier(self, run: RunSnapshot, badge: str, width: int) -> list[list[Segment]]:
        """An attempt that is not the newest: that it is not live comes before everything else."""
        palette, count = self.palette, len(run.state.attempts)
        status = run.attempt_status
        line = [
            Segment(
                f" ATTEMPT {run.attempt} OF {count}: {status.value.upper()} ",
                palette.badges[tone_of(status)],
            )
        ]
        epoch, step = self._position(run)
        ended = "" if run.ended_s is None else f"ended {duration(run.polled_s - run.ended_s)} ago"
        for text in (epoch, step, ended, clean(run.run), _goodput(run)):
            if text and cells(line) + len(text) + len(badge) + 4 <= width:
                line.append(Segment(f"  {text}", palette.text))
        line = [*filled(line, width - len(badge) - 1), Segment(f"{badge} ", palette.muted)]
        newest = run.state.attempt
        where = "" if newest is None else f"attempt {newest.attempt}, {run.status.value.upper()}"
        text = f" NOT LIVE  esc: back to {where}  {{ }}: other attempts  {next_words(run)}"
        style = palette.badges["bad" if tone_of(run.status) == "bad" else "warn"]
        return [line, [Segment(fit(text, width), style)]]

    def _first(self, frame: RunFrame, badge: str, delay_s: float, width: int) -> list[Segment]:
        palette, run = self.palette, frame.snapshot
        live = is_live(run.status)
        line = [Segment(f" {run.status.value.upper()} ", palette.badges[tone_of(run.status)])]
        if run.hang is not None:
            line.append(Segment(f" {hang_words(run.hang, run.polled_s)} ", palette.bad))
        old = None if run.age_s is None or run.is_stalled else run.age_s + delay_s
        right = f"{badge} "
        left = width - cells(line)
        if live and left - len(right) >= 36:  # the run's id, and this
            right = f"step {age(old)} ago  {right}"
        attempt = "" if run.attempt is None else f"  attempt {run.attempt}"
        if left - len(right) - len(attempt) < 12:
            attempt = ""
        # The earlier ones leave the id the width that it needs to be recognised.
        earlier = earlier_words(run.state.attempts[:-1], left - len(right) - len(attempt) - 20)
        attempt += f" {earlier}" if attempt and earlier else ""
        note = clean(run_note(run))
        room = left - len(right) - len(attempt) - 2
        # A note leaves the id only the width that it needs to be recognised.
        name = fit_middle(clean(run.run), max(min(room, 17 if note and width < 100 else room), 0))
        line.append(Segment(f" {name}", palette.title))
        line.append(Segment(attempt, palette.text))
        left = width - cells(line) - len(right) - 3
        if note and left >= 6:
            line.append(Segment(f"  {fit(note, left).rstrip()}", palette.muted))
        style = palette.warn if delay_s > 0 else palette.muted
        return [*filled(line, width - len(right)), Segment(right, style)]

    def _second(self, frame: RunFrame, width: int) -> list[Segment]:
        """A fault takes its space first, then the figures in this order, then words and the bar."""
        palette, run = self.palette, frame.snapshot
        fault, doing, room = clean(worst(frame)[1]), clean(activity(frame)), width - 1
        if run.status == "pending" and doing:
            # There are no figures yet, and why it waits is what its user wants to know.
            return [Segment(f" {fit(doing, width - 2)}", palette.warn)]
        if len(fault) > width - 3:
            fault = without_node(fault)
        fault = fit(fault, min(len(fault), width - 3))
        epoch, step = self._position(run)
        eta, rate = self._figures(run)
        loss, mean = losses_of(run)
        good = _goodput(run)
        kept = min(len(doing), 24) + 2 if doing else 0
        shown = set()
        for text in (fault, epoch, eta, step, rate, loss, mean, good):
            need = len(text) + 2 + (0 if text == fault else kept)
            if text and need <= room:
                shown.add(text)
                room -= len(text) + 2
        doing = fit(doing, min(len(doing), max(room - 2, 0))) if room > 12 else ""
        room -= len(doing) + 2 if doing else 0
        line = [Segment(f" {fault} ", palette.bad if run.hang else palette.warn)] if fault else []
        line += [Segment(f" {text} ", palette.text) for text in (epoch, step) if text in shown]
        line += self._progress(run.progress, min(room - 9, 30))
        line += [
            Segment(f"  {text}", palette.text)
            for text in (eta, rate, loss, mean, good)
            if text in shown
        ]
        return [*line, Segment(f"  {doing}", palette.warn)] if doing else line

    def _position(self, run: RunSnapshot) -> tuple[str, str]:
        epoch, step = run.position
        shown = f"epoch {epoch + 1}/{run.epochs}" if run.epochs and epoch is not None else ""
        if run.steps_per_epoch and step is not None:
            return shown, f"step {step}/{run.steps_per_epoch}"
        # A script may not say how many there are.
        return shown, f"step {run.steps_done}" if run.runs_script and run.steps_done else ""

    def _figures(self, run: RunSnapshot) -> tuple[str, str]:
        """ETA and throughput of a run that trains."""
        if not is_live(run.status) or run.status == "starting":
            return "", ""
        eta, rate = f"ETA {duration(run.eta_s)}", f"{number(run.images_per_s)} images/s"
        if not run.runs_script:
            return eta, rate
        # What a script does not tell would be missing for ever.
        return eta if run.eta_s is not None else "", rate if run.images_per_s is not None else ""

    def _progress(self, share: float | None, width: int) -> list[Segment]:
        """A bar of ``width`` cells and the percentage; less where there is less room."""
        palette, glyphs = self.palette, self.glyphs
        if share is None or width < -2:
            return []
        if width < 6:
            return [Segment(f"  {percent(share)}", palette.text)]
        full = int(share * width)
        return [
            Segment(f"  {glyphs.bar_full * full}", palette.accent),
            Segment(glyphs.bar_empty * (width - full), palette.muted),
            Segment(f" {percent(share):>5}", palette.text),
        ]


def _goodput(run: RunSnapshot) -> str:
    """Of the run; of the attempt where an earlier one is shown."""
    found = run.goodput
    if found is not None and run.is_earlier and run.attempt is not None:
        numbers = [known.attempt for known in run.state.attempts]
        parts = dict(zip(numbers, found.attempts, strict=False))
        found = parts.get(run.attempt)
    return "" if found is None or found.share is None else f"goodput {percent(found.share)}"
