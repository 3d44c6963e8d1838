"""A row a rank; the late, the silent and the dead stand out by word, mark and colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from tui.drawing.text import NOT_KNOWN, age, clean, milliseconds, number, size_bytes
from tui.model.run import RankRow, RunView
from tui.widgets.lines import Line, LineView, bar, cell

STALE_S: Final = 15.0  # older figures are shown as old
NO_ANSWER: Final = "no answer"
STATE_TONES: Final = {
    "waiting": "muted",
    "starting": "busy",
    "running": "good",
    "silent": "warn",
    "failed": "bad",
    "ended": "muted",
    "followed": "muted",
    "done": "good",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: title, width in cells, and how much it is wanted when there is little room."""

    title: str
    width: int
    wanted: int  # 0 first to come, last to go
    text: Callable[[RankRow, RunView], str]
    align: str = ">"


def _state(row: RankRow, view: RunView) -> str:
    if row.unreachable_since is not None:
        return NO_ANSWER
    if row.state == "running" and row.phase:
        return row.phase
    if row.state == "failed":
        if row.signal:
            return row.signal
        if row.exit_code is not None:
            return f"exit {row.exit_code}"
    return row.state


def _of(part: int | None, whole: int | None) -> str:
    if part is None:
        return NOT_KNOWN
    return f"{part}/{whole}" if whole else str(part)


def _epoch(row: RankRow, view: RunView) -> str:
    return _of(None if row.epoch is None else row.epoch + 1, view.epochs)


def _memory(row: RankRow, view: RunView) -> str:
    used = size_bytes(row.memory_bytes)
    if row.memory_limit_bytes is None or row.memory_bytes is None:
        return used
    share = row.memory_bytes / row.memory_limit_bytes if row.memory_limit_bytes > 0 else 0.0
    return f"{used} {share:4.0%}"


def _late(row: RankRow, view: RunView) -> str:
    return NOT_KNOWN if row.late_ms is None else f"{row.late_ms:+.0f} ms"


def _age(row: RankRow, view: RunView) -> str:
    return age(None if row.newest is None else view.now - row.newest)


COLUMNS: Final = (
    Column("rank", 4, 0, lambda row, view: str(row.rank)),
    Column("state", 10, 0, _state, "<"),
    Column("node", 14, 4, lambda row, view: clean(row.node), "<"),
    Column("device", 8, 8, lambda row, view: clean(row.device), "<"),
    Column("epoch", 7, 6, _epoch),
    Column("step", 9, 1, lambda row, view: _of(row.step, view.steps_per_epoch)),
    Column("loss", 7, 1, lambda row, view: number(row.loss, 4)),
    Column("step time", 9, 2, lambda row, view: milliseconds(row.step_time_ms)),
    Column("wait", 8, 5, lambda row, view: milliseconds(row.wait_ms)),
    Column("late", 9, 2, _late),
    Column("images/s", 8, 7, lambda row, view: number(row.images_per_s, 3)),
    Column("memory", 14, 3, _memory),
    Column("age", 7, 1, _age),
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


class RankTable(LineView, can_focus=True):
    """The table; it scrolls with the cursor when there are more ranks than lines."""

    BINDING_GROUP_TITLE = "Ranks"
    HELP = (
        "One row a rank. The log shown is that of the rank under the cursor, "
        "or of the marked ranks (+), merged by time."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Rank up", show=False),
        Binding("down,j", "move(1)", "Rank down", show=False),
        Binding("home,g", "move(-100000)", "First rank", show=False),
        Binding("end,G", "move(100000)", "Last rank", show=False),
        Binding("pageup", "move(-8)", "Page up", show=False),
        Binding("pagedown", "move(8)", "Page down", show=False),
        Binding("w", "worst", "Worst rank", show=False),
        Binding("enter", "open_log", "Its log", show=False),
        Binding("space", "mark", "Mark for the log", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class RankChosen(Message):
        """The cursor came to another rank."""

        def __init__(self, rank: int) -> None:
            super().__init__()
            self.rank = rank

    class LogWanted(Message):
        """``enter`` was pressed on a rank."""

    class RanksMarked(Message):
        """Other ranks than before are marked."""

        def __init__(self, ranks: frozenset[int]) -> None:
            super().__init__()
            self.ranks = ranks

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view: RunView | None = None
        self._top = 0
        self._aim = 0  # where the cursor was put, while there are too few rows for it
        self._settles = False
        self._marked: frozenset[int] = frozenset()

    def mark(self, ranks: frozenset[int]) -> None:
        """Mark these ranks and no other."""
        if ranks != self._marked:
            self._marked = ranks
            self.post_message(self.RanksMarked(ranks))
            self._draw()

    def show(self, view: RunView) -> None:
        """Draw this moment; only rows that changed are painted."""
        self._view = view
        # A new attempt begins with few rows or none: the cursor comes back to its rank with them.
        self._settles = len(view.ranks) <= self._aim
        self.cursor = self._aim
        self._settles = False
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Another width shows other columns."""
        self._draw()

    def watch_cursor(self, old: int, new: int) -> None:
        """Tell who shows the log."""
        if self._settles:
            return
        self._aim = new
        if self._view is not None and old != new and new < len(self._view.ranks):
            self.post_message(self.RankChosen(self._view.ranks[new].rank))
            self._draw()

    def validate_cursor(self, value: int) -> int:
        """Within the rows that there are."""
        count = 0 if self._view is None else len(self._view.ranks)
        return max(0, min(value, count - 1))

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor += by

    def action_worst(self) -> None:
        """Go to the first rank to fail, else the latest one."""
        if self._view is None:
            return
        for index, row in enumerate(self._view.ranks):
            if row.first_to_fail or row.rank == self._view.worst_rank:
                self.cursor = index
                return

    def action_open_log(self) -> None:
        """Ask for the log of the rank under the cursor."""
        self.post_message(self.LogWanted())

    def action_mark(self) -> None:
        """Mark the rank under the cursor, or take its mark away."""
        if self._view is not None and self.cursor < len(self._view.ranks):
            self.mark(self._marked ^ {self._view.ranks[self.cursor].rank})

    def on_click(self, event: events.Click) -> None:
        """A click chooses a rank."""
        if event.y > 0:
            self.cursor = self._top + event.y - 1

    def _draw(self) -> None:
        view = self._view
        width, height = self.content_size
        if view is None or width <= 0 or height <= 1:
            return
        rows = height - 1
        self._top = max(0, min(self._top, len(view.ranks) - rows))
        if self.cursor < self._top:
            self._top = self.cursor
        elif self.cursor >= self._top + rows:
            self._top = self.cursor - rows + 1
        columns = choose_columns(width)
        palette = self.palette
        lines: list[Line] = [self._head(columns, width)]
        shown = view.ranks[self._top : self._top + rows]
        lines.extend(
            self._row(row, view, columns, width, self._top + index == self.cursor)
            for index, row in enumerate(shown)
        )
        hidden = len(view.ranks) - len(shown)
        if hidden > 0:
            text = f" {self._top + 1}–{self._top + len(shown)} of {len(view.ranks)}"
            room = max(len(text) + 1, COLUMNS[-1].width + 1)  # in place of the last title
            kept = Strip(lines[0]).crop(0, max(width - room, 0))
            lines[0] = [*kept, Segment(f"{text:>{room}}", palette.bar + palette.accent)]
        self.set_lines(lines)

    def _head(self, columns: tuple[Column, ...], width: int) -> list[Segment]:
        style = self.palette.muted
        line = [Segment("  ", style)]
        for column in columns:
            line.append(cell(column.title, column.width, style, column.align))
            line.append(Segment(" ", style))
        return list(bar(line, width, self.palette.bar))

    def _row(
        self, row: RankRow, view: RunView, columns: tuple[Column, ...], width: int, here: bool
    ) -> list[Segment]:
        palette, glyphs = self.palette, self.glyphs
        away = row.unreachable_since is not None
        old = away or (row.newest is not None and view.live and view.now - row.newest > STALE_S)
        plain = (
            palette.muted if old or row.state in ("ended", "followed", "waiting") else palette.text
        )
        tone = palette.warn if away else palette.by_tone(STATE_TONES.get(row.state, "text"))
        marked = {"late", "rank"} if row.rank == view.worst_rank else set()
        if old:
            marked.add("age")
        mark = glyphs.cursor if here else "!" if row.rank == view.worst_rank else " "
        if row.first_to_fail:
            mark = glyphs.bad
        loud = palette.bad if row.first_to_fail else palette.warn
        line = [
            Segment(mark, palette.accent if mark in (" ", glyphs.cursor) else loud),
            Segment("+" if row.rank in self._marked else " ", palette.accent),
        ]
        used = 2
        for column in columns:
            style: Style = plain
            if column.title == "state":
                style = tone
            elif column.title in marked:
                style = palette.warn
            line.append(cell(column.text(row, view), column.width, style, column.align))
            line.append(Segment(" "))
            used += column.width + 1
        line.append(Segment(" " * max(width - used, 0)))
        if here and self.has_focus:
            line = [Segment(part.text, (part.style or plain) + palette.cursor) for part in line]
        return line

    def on_focus(self) -> None:
        """The cursor's row shows where the keys go."""
        self._draw()

    def on_blur(self) -> None:
        """The cursor's row is marked only."""
        self._draw()
