"""The events of a run, or of one attempt, as a log: a line each, without the start of each rank."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from launcher.core.diagnosis.event_text import Event, event_text, parsed
from launcher.core.text.figures import NOT_KNOWN

if TYPE_CHECKING:
    from launcher.client import GrowingLines

LEFT_OUT: Final = frozenset({"rank_started"})  # a thousand of them hide everything else


def line_of(event: Event) -> str:
    """``12:03:11 rank exited: rank 1 on node-b, SIGKILL``."""
    try:
        stamp = time.strftime("%H:%M:%S", time.localtime(float(event["t"])))
    except (KeyError, ValueError, TypeError, ArithmeticError, OSError):
        stamp = NOT_KNOWN
    return f"{stamp} {event_text(event)}"


class EventLog:
    """A :class:`tui.logs.log_source.LogSource`. ``attempt``: only what happened in this one."""

    prefix: Final = 0
    is_counted: Final = True
    stopped_at: Final = None

    def __init__(self, file: GrowingLines, attempt: int | None = None) -> None:
        self._file = file
        self._attempt = attempt
        self._now: int | None = None  # the attempt of the newest event
        self._lines: list[str] = []

    def refresh(self) -> int:
        is_new, lines = self._file.poll()
        if is_new:
            self._lines, self._now = [], None
        for line in lines:
            event = parsed(line)
            if event is None:
                continue
            if event.get("kind") == "attempt_started":
                number = event.get("attempt")
                self._now = number if isinstance(number, int) else None
            if event.get("kind") not in LEFT_OUT and self._attempt in (None, self._now):
                self._lines.append(line_of(event))
        return len(self._lines)

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
