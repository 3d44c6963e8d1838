"""One row per rank; late, silent and dead ranks stand out by word, mark and colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from launcher.core.diagnosis.words import signal_name
from launcher.core.text.figures import NOT_KNOWN, age, milliseconds, number, percent, size_bytes
from tui.drawing.text import clean, fit
from tui.drawing.wording import worst
from tui.model.derived import rank_state
from tui.model.run import RunFrame
from tui.widgets.cursor_list import CursorList
from tui.widgets.lines import Line, bar

if TYPE_CHECKING:
    from launcher.client import RankSnapshot, RunSnapshot

NO_ANSWER: Final = "no answer"
STATE_TONES: Final = {
    "waiting": "muted",
    "starting": "busy",
    "running": "good",
    "silent": "bad",
    "failed": "bad",
    "ended": "muted",
    "stopped": "muted",
    "done": "good",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: title, width in cells, and how much it is wanted when there is little room."""

    title: str
    width: int
    wanted: int  # 0 first to come, last to go
    text: Callable[[RankSnapshot, RunSnapshot], str]
    align: str = ">"


def _state(rank: RankSnapshot, run: RunSnapshot) -> str:
    if rank.is_stale:
        return NO_ANSWER
    state = rank_state(rank, run)
    if state == "running" and rank.phase is not None:
        return rank.phase.value
    if state == "failed":
        if rank.signal is not None:
            return signal_name(rank.signal)
        if rank.exit_code is not None:
            return f"exit {rank.exit_code}"
    return state


def _of(part: int | None, whole: int | None) -> str:
    if part is None:
        return NOT_KNOWN
    return f"{part}/{whole}" if whole else str(part)


def _epoch(rank: RankSnapshot, run: RunSnapshot) -> str:
    return _of(None if rank.epoch is None else rank.epoch + 1, run.epochs)


def _step(rank: RankSnapshot, run: RunSnapshot) -> str:
    return _of(None if rank.step is None else rank.step + 1, run.steps_per_epoch)


def _memory(rank: RankSnapshot, run: RunSnapshot) -> str:
    used, limit = rank.memory_bytes, rank.memory_limit_bytes
    if used is None or not limit:
        return size_bytes(used)
    return f"{size_bytes(used)} {percent(used, limit):>5}"


def _late(rank: RankSnapshot, run: RunSnapshot) -> str:
    return NOT_KNOWN if rank.lateness_ms is None else f"{rank.lateness_ms:+.0f} ms"


COLUMNS: Final = (
    Column("rank", 4, 0, lambda rank, run: str(rank.rank)),
    Column("state", 10, 0, _state, "<"),
    Column("node", 14, 4, lambda rank, run: clean(rank.node or ""), "<"),
    Column("device", 8, 8, lambda rank, run: "" if rank.device is None else str(rank.device), "<"),
    Column("epoch", 7, 6, _epoch),
    Column("step", 9, 1, _step),
    Column("loss", 7, 1, lambda rank, run: number(rank.loss, 4)),
    Column("step time", 9, 2, lambda rank, run: milliseconds(rank.step_time_ms)),
    Column("wait", 8, 5, lambda rank, run: milliseconds(rank.wait_ms)),
    Column("late", 9, 2, _late),
    Column("memory", 14, 3, _memory),
    Column("age", 7, 1, lambda rank, run: age(rank.age_s(run.polled_s))),
)


def choose_columns(width: int) -> tuple[Column, ...]:
    """The columns that fit into ``width`` cells beside the two of the cursor, in table order."""
    room = width - 2
    chosen: set[int] = set()
    for index in sorted(range(len(COLUMNS)), key=lambda at: (COLUMNS[at].wanted, at)):
        need = COLUMNS[index].width + 1
        if need <= room:
            room -= need
            chosen.add(index)
    return tuple(column for index, column in enumerate(COLUMNS) if index in chosen)


class RankTable(CursorList):
    """The table; it scrolls with the cursor when there are more ranks than lines."""

    BINDING_GROUP_TITLE = "Ranks"
    HELP = (
        "One row a rank. The log shown is that of the rank under the cursor, "
        "or of the marked ranks (+), merged by time."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "worst", "Worst rank", show=False),
        Binding("enter", "open_log", "Its log", show=False),
        Binding("space", "mark", "Mark for the log", show=False),
    ]

    HEAD_LINES = 1

    @dataclass
    class RankChosen(Message):
        """The cursor came to another rank."""

        rank: int

    class LogWanted(Message):
        """``enter`` was pressed on a rank."""

    @dataclass
    class RanksMarked(Message):
        """Other ranks than before are marked."""

        ranks: frozenset[int]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._run: RunSnapshot | None = None
        self._worst: int | None = None
        self._aim = 0  # where the user put the cursor, while there are too few rows for it
        self._settles = False
        self._marked: frozenset[int] = frozenset()

    def mark(self, ranks: frozenset[int]) -> None:
        """Mark exactly these ranks."""
        if ranks != self._marked:
            self._marked = ranks
            self.post_message(self.RanksMarked(ranks))
            self.draw()

    def show(self, frame: RunFrame) -> None:
        self._run, self._worst = frame.snapshot, worst(frame)[0]
        # A new attempt begins with few rows or none: the cursor returns to its rank with them.
        self._settles = len(frame.snapshot.ranks) <= self._aim
        self.cursor = self._aim
        self._settles = False
        self.draw()

    def watch_cursor(self, old: int, new: int) -> None:
        if self._settles:
            return
        self._aim = new
        if self._run is not None and old != new and new < len(self._run.ranks):
            self.post_message(self.RankChosen(self._run.ranks[new].rank))
            self.draw()

    @property
    def row_count(self) -> int:
        return 0 if self._run is None else len(self._run.ranks)

    def action_worst(self) -> None:
        """Go to the first rank that failed, else the one that is late."""
        if self._run is None:
            return
        for index, rank in enumerate(self._run.ranks):
            if rank.is_first_failure or rank.rank == self._worst:
                self.cursor = index
                return

    def action_open_log(self) -> None:
        self.post_message(self.LogWanted())

    def action_mark(self) -> None:
        if self._run is not None and self.cursor < len(self._run.ranks):
            self.mark(self._marked ^ {self._run.ranks[self.cursor].rank})

    def draw(self) -> None:
        run = self._run
        width, height = self.content_size
        if run is None or width <= 0 or height <= 1:
            return
        columns = choose_columns(width)
        palette = self.palette
        lines: list[Line] = [self._head(columns, width)]
        shown = self.rows_in_view()
        lines += [self._row(run.ranks[at], run, columns, width, at == self.cursor) for at in shown]
        if len(shown) < len(run.ranks):
            text = f" {shown[0] + 1}–{shown[-1] + 1} of {len(run.ranks)}"
            room = max(len(text) + 1, COLUMNS[-1].width + 1)  # in place of the last title
            kept = Strip(lines[0]).crop(0, max(width - room, 0))
            lines[0] = [*kept, Segment(f"{text:>{room}}", palette.bar + palette.accent)]
        self.set_lines(lines)

    def _head(self, columns: tuple[Column, ...], width: int) -> list[Segment]:
        style = self.palette.muted
        titles = [fit(column.title, column.width, column.align) for column in columns]
        line = [Segment(f"  {' '.join(titles)} ", style)]
        return list(bar(line, width, self.palette.bar))

    def _row(
        self,
        rank: RankSnapshot,
        run: RunSnapshot,
        columns: tuple[Column, ...],
        width: int,
        here: bool,
    ) -> Line:
        palette, glyphs = self.palette, self.glyphs
        away, state = rank.is_stale, rank_state(rank, run)
        old = away or run.is_stalled
        plain = palette.muted if old or state in ("ended", "stopped", "waiting") else palette.text
        tone = palette.warn if away else palette.by_tone(STATE_TONES.get(state, "text"))
        is_worst = rank.rank == self._worst
        marked = {"late", "rank"} if is_worst else set()
        if old:
            marked.add("age")
        mark = glyphs.cursor if here else "!" if is_worst else " "
        if rank.is_first_failure:
            mark = glyphs.bad
        loud = palette.bad if rank.is_first_failure else palette.warn
        line = [
            Segment(mark, palette.accent if mark in (" ", glyphs.cursor) else loud),
            Segment("+" if rank.rank in self._marked else " ", palette.accent),
        ]
        for column in columns:
            style: Style = plain
            if column.title == "state":
                style = tone
            elif column.title in marked:
                style = palette.warn
            text = fit(column.text(rank, run), column.width, column.align)
            line.append(Segment(text, style))
            line.append(Segment(" "))
        return self.highlighted(line, width) if here else line
