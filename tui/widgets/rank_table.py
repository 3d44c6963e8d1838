"""One row per rank; late, silent and dead ranks stand out by word, mark and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from tui.drawing.text import fit
from tui.drawing.wording import worst
from tui.model.derived import rank_state
from tui.model.run import RunFrame
from tui.widgets.cursor_list import CursorList
from tui.widgets.lines import Line, bar, filled
from tui.widgets.rank_columns import SORTS, Column, choose_columns, sorted_rows

if TYPE_CHECKING:
    from launcher.client import RankSnapshot, RunSnapshot

SCROLLED: Final = 4  # the position takes the space of columns that are wanted less than this
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
        Binding("o", "sort(1)", "Sort", show=False),
        Binding("O", "reverse", "Reverse the order", show=False),
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

    class RowsMoved(Message):
        """Other ranks are in view, or in another order: see ``in_view``."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.in_view: tuple[int, ...] = ()  # ranks, by line
        self._run: RunSnapshot | None = None
        self._worst: int | None = None
        self._sort = "rank"
        self._is_reversed = False
        self._order: tuple[int, ...] = ()  # indices of the run's ranks, as they are shown
        self._aim = 0  # the rank that the user put the cursor on, also while it has no row
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
        self._arrange()

    def _arrange(self) -> None:
        """Put the rows in order; the cursor stays on its rank."""
        ranks = () if self._run is None else self._run.ranks
        self._order = sorted_rows(ranks, self._sort, self._is_reversed)
        rows = [row for row, at in enumerate(self._order) if ranks[at].rank == self._aim]
        # A new attempt begins with few rows or none: the cursor returns to its rank with them.
        self._settles = True
        self.cursor = rows[0] if rows else self.cursor
        self._settles = False
        self.draw()

    def watch_cursor(self, old: int, new: int) -> None:
        rank = self.rank
        if self._settles or rank is None:
            return
        self._aim = rank
        if old != new:
            self.post_message(self.RankChosen(rank))
            self.draw()

    @property
    def rank(self) -> int | None:
        """The rank under the cursor."""
        if self._run is None or self.cursor >= len(self._order):
            return None
        return self._run.ranks[self._order[self.cursor]].rank

    def go(self, rank: int) -> bool:
        """Put the cursor on a rank. -> whether it is there."""
        for row, at in enumerate(self._order):
            if self._run is not None and self._run.ranks[at].rank == rank:
                self.cursor = row
                return True
        return False

    @property
    def row_count(self) -> int:
        return 0 if self._run is None else len(self._run.ranks)

    @property
    def chosen_ranks(self) -> tuple[int, ...]:
        """The rank under the cursor, then the marked ones."""
        here = self.rank
        return () if here is None else (here, *sorted(self._marked - {here}))

    def action_worst(self) -> None:
        """Go to the first rank that failed, else the one that is late."""
        if (row := self._worst_row()) is not None:
            self.cursor = row

    def _worst_row(self) -> int | None:
        ranks = () if self._run is None else self._run.ranks
        for row, at in enumerate(self._order):
            if self._is_bad(ranks[at]):
                return row
        return None

    def _is_bad(self, rank: RankSnapshot) -> bool:
        return rank.is_first_failure or rank.rank == self._worst

    def action_sort(self, by: int) -> None:
        """By the next column, what is worst first."""
        names = list(SORTS)
        self._sort, self._is_reversed = names[(names.index(self._sort) + by) % len(names)], False
        self._arrange()

    def action_reverse(self) -> None:
        self._is_reversed = not self._is_reversed
        self._arrange()

    def action_open_log(self) -> None:
        self.post_message(self.LogWanted())

    def action_mark(self) -> None:
        if self.rank is not None:
            self.mark(self._marked ^ {self.rank})

    def draw(self) -> None:
        run = self._run
        width, height = self.content_size
        if run is None or width <= 0 or height <= 1:
            return
        shown = self._rows_shown()
        in_view = tuple(run.ranks[self._order[row]].rank for row in shown)
        if in_view != self.in_view:
            self.in_view = in_view
            self.post_message(self.RowsMoved())
        is_whole = len(shown) == len(self._order)
        position = "" if is_whole else f" {self.cursor + 1}/{len(self._order)} "
        columns = whole = choose_columns(width, self._sort)
        if position:
            columns = choose_columns(width - len(position), self._sort)
            if any(column.wanted < SCROLLED and column not in columns for column in whole):
                columns, position = whole, ""
        bar_rows = range(0) if is_whole else self._bar_rows(len(shown))
        lines: list[Line] = [self._head(columns, position, width)]
        for at, row in enumerate(shown):
            rank, here = run.ranks[self._order[row]], row == self.cursor
            line = filled(
                self._row(rank, run, columns, here and self.has_keys),
                width if is_whole else width - 1,
            )
            if here and self.has_keys:
                line = list(self.highlighted(line, width))
            elif self._is_bad(rank):
                tint = self.palette.tint
                line = [Segment(part.text, (part.style or tint) + tint) for part in line]
            if not is_whole:
                line = filled(list(Strip(line).crop(0, width - 1)), width - 1)
                glyph = self.glyphs.bar_part if at in bar_rows else self.glyphs.axis
                line.append(Segment(glyph, self.palette.muted))
            lines.append(line)
        self.set_lines(lines)

    def _rows_shown(self) -> list[int]:
        """The rows in view; the worst one is always among them."""
        rows = list(self.rows_in_view())
        worst = self._worst_row()
        if worst is None or worst in rows or len(rows) < 3:
            return rows
        if worst < rows[0]:
            return [worst, *(rows[:-1] if rows[0] == self.cursor else rows[1:])]
        return [*(rows[1:] if rows[-1] == self.cursor else rows[:-1]), worst]

    def _bar_rows(self, shown: int) -> range:
        """Which of the lines in view are the bar that shows where they are among all rows."""
        count = len(self._order)
        size = max(shown * shown // count, 1)
        first = round((shown - size) * self._top / max(count - shown, 1))
        return range(first, first + size)

    def on_click(self, event: events.Click) -> None:
        shown = self._rows_shown()
        if 0 <= (at := event.y - self.HEAD_LINES) < len(shown):
            self.cursor = shown[at]

    def _head(self, columns: tuple[Column, ...], position: str, width: int) -> Line:
        palette, glyphs = self.palette, self.glyphs
        arrow = glyphs.up if (self._sort == "rank") != self._is_reversed else glyphs.down
        line = [Segment("  ", palette.muted)]
        for column in columns:
            is_sort = column.title == self._sort
            title = fit(column.title, column.width, column.align)
            if is_sort:  # its space is that before the title: the first one has two cells more
                title = fit(f"{arrow}{column.title}", column.width, column.align)
                if len(column.title) == column.width:
                    title = f"{arrow}{column.title}"
                    line[-1] = Segment(line[-1].text[:-1], line[-1].style)
            line.append(Segment(title, palette.title if is_sort else palette.muted))
            line.append(Segment(" ", palette.muted))
        line = filled(list(Strip(line).crop(0, width - len(position))), width - len(position))
        return bar([*line, Segment(position, palette.accent)], width, palette.bar)

    def _row(
        self,
        rank: RankSnapshot,
        run: RunSnapshot,
        columns: tuple[Column, ...],
        here: bool,
    ) -> list[Segment]:
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
        return line
