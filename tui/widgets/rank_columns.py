"""The columns of the table of ranks: what they show, which fit, and the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from launcher.core.diagnosis.words import signal_name
from launcher.core.text.figures import NOT_KNOWN, age, milliseconds, number, percent, size_bytes
from tui.drawing.text import clean
from tui.model.derived import rank_state

if TYPE_CHECKING:
    from launcher.client import RankSnapshot, RunSnapshot

NO_ANSWER: Final = "no answer"


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


SORTS: Final[Mapping[str, Callable[[RankSnapshot], float | None]]] = {
    "rank": lambda rank: -rank.rank,
    "late": lambda rank: rank.lateness_ms,
    "age": lambda rank: None if rank.step_s is None else -rank.step_s,
    "memory": lambda rank: rank.memory_bytes,
}
"""By column: what comes first is the largest, and a value that is not known comes last."""


def sorted_rows(
    ranks: Sequence[RankSnapshot], column: str, is_reversed: bool = False
) -> tuple[int, ...]:
    """The rows of a table in this order."""
    value_of = SORTS[column]
    known = [(value, at) for at, rank in enumerate(ranks) if (value := value_of(rank)) is not None]
    rows = [at for _, at in sorted(known, key=lambda row: row[0], reverse=not is_reversed)]
    unknown = set(range(len(ranks))) - set(rows)
    return (*rows, *sorted(unknown))


def choose_columns(width: int, needed: str = "rank") -> tuple[Column, ...]:
    """The columns that fit into ``width`` cells beside the two of the cursor, in table order.

    ``needed``: one of the first to come.
    """
    room = width - 2
    chosen: set[int] = set()
    wanted = [0 if column.title == needed else column.wanted for column in COLUMNS]
    for index in sorted(range(len(COLUMNS)), key=lambda at: (wanted[at], at)):
        need = COLUMNS[index].width + 1
        if need <= room:
            room -= need
            chosen.add(index)
    return tuple(column for index, column in enumerate(COLUMNS) if index in chosen)
