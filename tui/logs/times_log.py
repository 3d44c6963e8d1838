"""Where the time of a run and of each attempt went, as the lines of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from launcher.core.diagnosis.goodput import CLASSES, Goodput
from launcher.core.text.figures import NOT_KNOWN, duration, percent
from tui.logs.log_source import ShortLog

CELL: Final = 18
NOT_READ: Final = "adding up …"


def table(found: Goodput | None) -> list[str]:
    """A column for the run, then one for each attempt, the newest first."""
    if found is None:
        return [NOT_READ]
    parts = [found, *reversed(found.attempts)] if len(found.attempts) > 1 else [found]
    heads = ["run", *(f"attempt {number}" for number in range(len(found.attempts), 0, -1))]
    rows = [("", heads[: len(parts)])]
    rows.append(("took", [duration(part.wall_s) for part in parts]))
    rows.append(("goodput", [percent(part.share) for part in parts]))
    names = [name for name in CLASSES if getattr(found, name) >= 0.5]
    rows += [
        (name.removesuffix("_s"), [_cell(part, name) for part in parts])
        for name in sorted(names, key=lambda name: -getattr(found, name))
    ]
    lines = [f"{name:<11}" + "".join(f"{cell:>{CELL}}" for cell in cells) for name, cells in rows]
    return lines + [f"{note[0].upper()}{note[1:]}." for note in found.notes]


def _cell(part: Goodput, name: str) -> str:
    value = getattr(part, name)
    if value < 0.05:
        return NOT_KNOWN
    return f"{duration(value)} {percent(value, part.wall_s):>5}"


class TimesLog(ShortLog):
    """Of the newest goodput."""

    def __init__(self, newest: Callable[[], Goodput | None]) -> None:
        super().__init__()
        self._newest = newest

    def refresh(self) -> int:
        self._lines = table(self._newest())
        return len(self._lines)
