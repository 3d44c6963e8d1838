"""The failure in one card: which rank failed first, what it means, what a resume would use."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from launcher.core.diagnosis.words import headline, meaning
from launcher.core.run.metrics import DeviceRecord
from launcher.core.run.requests import ResumeRequest
from launcher.core.text.figures import duration, size_bytes
from tui.drawing.attempts import next_words
from tui.drawing.text import clean, fit
from tui.drawing.wording import followers_words, kept_words, restart_words
from tui.logs.folding import folded
from tui.model.derived import failure_of
from tui.model.run import RunFrame
from tui.widgets.lines import Line, LineView, cells

if TYPE_CHECKING:
    from launcher.client import ResumeChoice, RunSnapshot
    from launcher.core.run.events import Failure


CURVE_CELLS = 16


def lines_wanted(failure: Failure, is_earlier: bool, keeps: bool) -> int:
    """How high the card is with its text, without the memory; six last lines at most.

    ``keeps``: something waits for the next attempt.
    """
    lines = 3 + bool(failure.followers) + len(failure.kernel_lines) + keeps
    lines += min(len(last_lines(failure)), 6)
    return lines if is_earlier else lines + 1 + bool(failure.try_next)


def last_lines(failure: Failure) -> list[str]:
    """What the rank printed last, without empty lines."""
    return [text for text in failure.last_lines or failure.traceback if text.strip()]


def memory_words(samples: Sequence[DeviceRecord], rises: str) -> str:
    """``memory in its last 56 s: 1.2 GiB ▁▂▃▅█ 14.9 GiB of 16.0 GiB``."""
    first, last = samples[0], samples[-1]
    most = max(sample.limit_bytes or sample.used_bytes for sample in samples)
    thinned = samples[:: -(-len(samples) // CURVE_CELLS)]
    curve = "".join(
        rises[min(len(rises) * one.used_bytes // (most or 1), len(rises) - 1)] for one in thinned
    )
    total = f" of {size_bytes(last.limit_bytes)}" if last.limit_bytes else ""
    if len(samples) == 1:
        return f"memory in its only sample: {size_bytes(last.used_bytes)}{total}"
    lasting = duration(last.time_s - first.time_s)
    ends = size_bytes(first.used_bytes), size_bytes(last.used_bytes)
    return f"memory in its last {lasting}: {ends[0]} {curve} {ends[1]}{total}"


class FailureCard(LineView):
    """Drawn above the ranks while the newest attempt is a failed one."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._run: RunSnapshot | None = None
        self._memory: tuple[DeviceRecord, ...] = ()
        self._choice: ResumeChoice | None = None
        self._is_replay = False

    def show(self, frame: RunFrame, choice: ResumeChoice | None, is_replay: bool) -> None:
        """Draw the run's failure and ``choice`` (``None``: not known yet)."""
        self._run, self._memory = frame.snapshot, frame.memory
        self._choice, self._is_replay = choice, is_replay
        self.draw()

    def draw(self) -> None:
        run, choice = self._run, self._choice
        failure = None if run is None else failure_of(run)
        width, height = self.content_size
        if run is None or failure is None or width < 10 or height < 1:
            return
        palette = self.palette
        edge = Segment(f"{self.glyphs.edge} ", palette.bad)

        def row(text: str, style: Style, key: str = "") -> Line:
            line = [edge, Segment(f"{key} ", palette.title)] if key else [edge]
            return [*line, Segment(fit(clean(text), width - cells(line)), style)]

        when = "" if failure.time is None else f", {duration(run.polled_s - failure.time)} ago"
        lines = [row(headline(failure) + when, palette.bad)]
        lines.append(row(meaning(failure) or "cause unknown: read the log", palette.text))
        if failure.followers:
            lines.append(row(followers_words(failure), palette.muted))
        if self._memory:
            words = memory_words(self._memory, self.glyphs.rises)
            lines.append(row(words, palette.text))
        lines += [row(f"kernel: {text}", palette.warn) for text in failure.kernel_lines]
        tail: list[Line] = []
        if failure.try_next and not run.is_earlier:
            tail.append(row(failure.try_next, palette.text, self.glyphs.arrow))
        if run.is_earlier:
            choice = None
            tail.append(row(next_words(run), palette.good))
        there = choice is not None and choice.path is not None
        style = palette.good if there else palette.warn
        key = "r" if there and not self._is_replay else ""
        if not run.is_earlier:
            tail.append(row(restart_words(choice, self._is_replay), style, key))
        if run.kept is not None and not run.is_earlier:
            tail.append(row(kept_words(run.kept), palette.muted))
        if there:
            command = shlex.join(ResumeRequest().command(run.run))
            tail.append(row(command, palette.muted, "$"))
        room = height - len(lines) - len(tail)
        last = last_lines(failure)
        if room > 0 and last:
            lines.extend(row(f"  {folded(text)}", palette.muted) for text in last[-room:])
        self.set_lines([*lines, *tail][:height])
