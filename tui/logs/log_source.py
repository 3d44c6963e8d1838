"""What the log panel reads from: numbered lines, all of them or those that match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

LEVELS: Final = ("all", "warning", "error")
ERROR: Final = re.compile(
    r"\b(error|critical|fatal|traceback|exception|segmentation fault|core dumped|killed|"
    r"out of memory|nan|EI\d{4}|E[0-9A-Z]\d{4})\b|^fault:",
    re.IGNORECASE,
)
WARNING: Final = re.compile(r"\b(warn|warning|deprecated|retry|timeout)\b|^stop:", re.IGNORECASE)
REPORT: Final = re.compile(
    r"^(start: rank:|epoch: ?\[|epoch \d+[:：]|epoch: \d+ step|checkpoint: |resume: |result: |"
    r"eval: |done: )"
)


def level_of(line: str) -> str:
    """``error``, ``warning``, ``report`` or ``plain``; of a long line, by its start."""
    head = line[:2000]
    if REPORT.match(head):
        return "report"
    if ERROR.search(head):
        return "error"
    return "warning" if WARNING.search(head) else "plain"


class LogSource(Protocol):
    """Lines by number, from 0; never the whole file. All calls are made from a worker thread."""

    @property
    def prefix(self) -> int:
        """Width of the rank's name before each line; 0 in the log of one rank."""

    def refresh(self) -> int:
        """Read new lines. -> how many there are now."""

    def lines(self, first: int, count: int) -> Sequence[str]:
        """``count`` lines from ``first``, fewer at the end; long ones may be cut."""

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        """Up to ``count`` matching lines from ``start`` on (towards the top, when ``step`` is -1).

        In the order of the search. It may stop early in a huge log: see ``stopped_at``.
        """

    @property
    def stopped_at(self) -> int | None:
        """The line at which the last ``matches`` stopped early; ``None``: it came to the end."""

    def tail(self, count: int) -> Sequence[str]:
        """The last lines, whether or not they have been counted yet."""

    @property
    def is_counted(self) -> bool:
        """Whether ``refresh`` has come to the end of the log."""

    def line_at(self, offset: int) -> int | None:
        """The number of the line that holds the byte at ``offset``."""


class ShortLog:
    """A :class:`LogSource` that holds all of its lines; a subclass has ``refresh``."""

    prefix: Final = 0
    is_counted: Final = True
    stopped_at: Final = None

    def __init__(self) -> None:
        self._lines: list[str] = []

    def lines(self, first: int, count: int) -> Sequence[str]:
        return self._lines[max(first, 0) : max(first, 0) + max(count, 0)]

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        numbers = range(
            min(start, len(self._lines) - 1), len(self._lines) if step > 0 else -1, step
        )
        found = ((at, self._lines[at]) for at in numbers if pattern.search(self._lines[at]))
        return [match for match, _ in zip(found, range(count), strict=False)]

    def tail(self, count: int) -> Sequence[str]:
        return self._lines[-count:]

    def line_at(self, offset: int) -> int | None:
        """Always ``None``: an offset belongs to a rank's log."""
        return None
