"""The events of a run, or of one attempt, as a log: a line each, without the start of each rank."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from launcher.core.diagnosis.event_text import Event, event_text, parsed
from launcher.core.text.figures import NOT_KNOWN
from tui.logs.log_source import ShortLog

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


class EventLog(ShortLog):
    """``attempt``: only what happened in this one."""

    def __init__(self, file: GrowingLines, attempt: int | None = None) -> None:
        super().__init__()
        self._file = file
        self._attempt = attempt
        self._now: int | None = None  # the attempt of the newest event

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
