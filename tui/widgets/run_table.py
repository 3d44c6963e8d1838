"""The runs of Home: columns that sort, marks, and why a run failed or does not advance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from launcher.core.history.filter import FIELDS, age_s
from launcher.core.text.figures import NOT_KNOWN, accuracy, age, duration, number, percent
from tui.drawing.text import clean, fit, fit_middle
from tui.drawing.wording import fault_of
from tui.model.derived import is_live
from tui.model.run import tone_of
from tui.widgets.lines import Line, bar
from tui.widgets.pick_list import PickList

if TYPE_CHECKING:
    from launcher.client import RunSummary

LEAST_ID: Final = 16
MOST_ID: Final = 44
LEAST_ID_BESIDE_A_FAULT: Final = 8
LEAST_NOTE: Final = 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it is sorted by, title, width, and from which terminal width it is shown."""

    field: str
    title: str
    width: int
    from_width: int
    text: Callable[[RunSummary, float], str]
    align: str = ">"


def epoch_of(run: RunSummary) -> str:
    """The current epoch, of how many."""
    if run.epoch is None:
        return NOT_KNOWN
    if run.epochs is None:
        return str(run.epoch + 1)
    return f"{min(run.epoch + 1, run.epochs)}/{run.epochs}"


def _left(run: RunSummary, now: float) -> str:
    return duration(run.eta_s) if is_live(run.status) else ""


COLUMNS: Final = (
    Column("ranks", "ranks", 6, 120, lambda run, now: str(run.world_size)),
    Column("epoch", "epoch", 7, 90, lambda run, now: epoch_of(run)),
    Column("done", "done", 5, 0, lambda run, now: percent(run.progress)),
    Column("loss", "loss", 6, 100, lambda run, now: number(run.loss, 4)),
    Column("top1", "top-1", 8, 70, lambda run, now: accuracy(run.best_top_1)),
    Column("duration", "took", 11, 80, lambda run, now: duration(run.duration_s)),
    Column("eta", "left", 11, 110, _left),
    Column("age", "age", 6, 0, lambda run, now: age(age_s(run, now))),
)
STATE: Final = Column("state", "state", 10, 0, lambda run, now: run.status.value, "<")
RUN: Final = Column("id", "run", 0, 0, lambda run, now: clean(run.run), "<")
NOTE: Final = Column("note", "note", 0, 0, lambda run, now: clean(run.note), "<")


class RunTable(PickList):
    """Draws what is in view only, so thousands of runs cost as much as a screen of them.

    ``sort`` is a field of `launcher.core.history.filter`, or empty: live runs, then the newest.
    """

    BINDING_GROUP_TITLE = "Runs"
    HEAD_LINES = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="home.mark"),
        Binding("o", "sort(1)", "Sort", id="home.sort"),
        Binding("O", "reverse", "Reverse the order", show=False, id="home.reverse"),
    ]

    class Arranged(Message):
        """Another order is wanted, or other runs are marked."""

    def __init__(self, empty: Sequence[str], *, id: str) -> None:
        super().__init__(empty, id=id)
        self.sort = ""
        self.is_reversed = False
        self.marked: frozenset[str] = frozenset()
        self._runs: Sequence[RunSummary] = ()
        self._now = 0.0
        self._id_width = LEAST_ID

    def show_runs(self, runs: Sequence[RunSummary], now: float, empty: Sequence[str]) -> None:
        """The runs in their order; ``now`` is Unix seconds."""
        self._runs, self._now = runs, now
        self._id_width = max((len(run.run) for run in runs), default=0)
        self.show([run.run for run in runs], self._row, empty)

    @property
    def run(self) -> RunSummary | None:
        """The run under the cursor."""
        return self._runs[self.cursor] if self.cursor < len(self._runs) else None

    def keep_marks(self, names: frozenset[str]) -> None:
        """Runs that are gone are no longer marked."""
        self.marked &= names

    def action_mark(self) -> None:
        if self.key is not None:
            self.marked ^= {self.key}
            self.action_move(1)
            self.post_message(self.Arranged())
            self.draw()

    def action_sort(self, by: int) -> None:
        """By the next column in view; after the last one in the usual order."""
        fields = ["", *(column.field for column in self._columns())]
        at = fields.index(self.sort) if self.sort in fields else 0
        self._arrange(fields[(at + by) % len(fields)])

    def action_reverse(self) -> None:
        self._arrange(self.sort, not self.is_reversed)

    def _arrange(self, sort: str, is_reversed: bool = False) -> None:
        self.sort, self.is_reversed = sort, is_reversed
        self.post_message(self.Arranged())

    def on_click(self, event: events.Click) -> None:
        """On a heading: sort by it, and the second time in the opposite order."""
        if event.y >= self.HEAD_LINES or not self._runs:
            return
        event.prevent_default()  # of the handlers of its bases
        end = 2
        for column in self._columns():
            end += self._width(column) + 1
            if event.x < end:
                is_same = column.field == self.sort
                self._arrange(column.field, is_same and not self.is_reversed)
                return

    def mark_of(self, key: str) -> str:
        return "+" if key in self.marked else " "

    def _columns(self) -> list[Column]:
        """Those that fit, from left to right; the one that is sorted by is always among them."""
        width = self.content_size.width
        figures = [
            column for column in COLUMNS if width >= column.from_width or column.field == self.sort
        ]
        return [STATE, RUN, *figures, NOTE]

    def _width(self, column: Column) -> int:
        """In cells; the id and the note share what the others leave."""
        if column.width:
            return column.width
        fixed = [one for one in self._columns() if one.width]
        room = self.content_size.width - 2 - sum(one.width + 1 for one in fixed)
        if column is RUN:
            return max(min(self._id_width, MOST_ID, room - LEAST_NOTE - 2), LEAST_ID)
        return max(room - self._width(RUN) - 1, 0)

    def heading(self, width: int) -> Sequence[Line]:
        palette = self.palette
        line = [Segment("  ", palette.muted)]
        rises = self.sort in FIELDS and FIELDS[self.sort].falls is self.is_reversed
        for column in self._columns():
            is_sort = column.field == self.sort
            arrow = (self.glyphs.up if rises else self.glyphs.down) if is_sort else ""
            title = fit(f"{arrow}{column.title}", self._width(column), column.align)
            line.append(Segment(f"{title} ", palette.title if is_sort else palette.muted))
        return [bar(line, width, palette.bar)]

    def _row(self, at: int) -> Line:
        run, now, palette, glyphs = self._runs[at], self._now, self.palette, self.glyphs
        live, tone = is_live(run.status), tone_of(run.status)
        style = palette.by_tone(tone)
        mark = glyphs.live if live else glyphs.idle
        columns = self._columns()
        figures = [column for column in columns if column in COLUMNS]
        id_width, room = self._width(RUN), self._width(NOTE)
        fault = fault_of(run, now)
        if fault:
            # What is wrong takes its space before figures, and before a part of the id.
            for column in reversed([one for one in figures if one.field != self.sort]):
                if len(fault) <= room:
                    break
                figures.remove(column)
                room += column.width + 1
            more = min(len(fault) - room, id_width - LEAST_ID_BESIDE_A_FAULT)
            id_width, room = id_width - max(more, 0), room + max(more, 0)
        name = fit(fit_middle(clean(run.run), id_width), id_width)
        line = [
            Segment(f"{mark} {fit(run.status.value, STATE.width - 2)} ", style),
            Segment(f"{name} ", palette.text),
        ]
        for column in figures:
            text = fit(column.text(run, now), column.width, column.align)
            line.append(
                Segment(f"{text} ", palette.muted if column.field == "age" else palette.text)
            )
        if fault:
            line.append(Segment(fit(fault, min(len(fault), room)), palette.bad))
            room -= len(fault) + 3
            fault = " · "
        if run.note and room > 0:
            note = clean(run.note)
            line.append(Segment(f"{fault}{fit(note, min(len(note), room))}", palette.muted))
        return line
