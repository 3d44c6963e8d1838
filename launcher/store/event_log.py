"""events.jsonl: written, and folded to a state at once."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.core.run.events import Event, parse_event, to_json
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.process import private
from launcher.process.log import log_line
from launcher.reading.growing import GrowingLines
from launcher.reading.run import RunReader
from launcher.store.journal import Journal

RESERVE_BYTES = 128 * 1024
WRITE_LIMIT_S = 3600.0

Source = tuple[str, int]
"""Node and number of the agent's message that an event comes from."""


class EventLog:
    """The run's events. Job runners append to them, too; `state` is that of all events.

    An event that cannot be written (disk full) is written at the next `flush` that can, before
    later ones.
    """

    def __init__(self, path: Path) -> None:
        self.state = RunState()
        self.trouble: OSError | None = None
        self.seen: dict[tuple[int, str], int] = {}
        """(attempt, node) -> number of the newest message of the agent that is in the events."""
        self._journal = Journal(path)
        self._reserve = path.with_name(".reserve")
        self._lines = GrowingLines(path)
        self._waiting: deque[Callable[[int], str]] = deque()
        self._waiting_since_s = 0.0
        self._read_new()

    def add(self, event: Event, source: Source | None = None) -> None:
        """Appends one event with the next number and the time now; never raises `OSError`."""
        now = time.time()

        def line(n: int) -> str:
            text = to_json(replace(event, n=n, t=now))
            if source is None:
                return text
            return f'{text[:-1]}, "source": {json.dumps(list(source))}}}'

        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        while self._waiting:
            try:
                self._journal.append(self._waiting[0])
            except OSError as error:
                if self._release_reserve():
                    continue
                if self.trouble is None:
                    log_line(f"events cannot be written: {error}")
                self.trouble = error
                return
            self.trouble = None
            self._waiting.popleft()
        self._read_new()

    def may_still_write(self) -> bool:
        """A full disk may get space again, and then it is recorded how the run ended."""
        if not self._waiting:
            return False
        self._waiting_since_s = self._waiting_since_s or time.monotonic()
        return time.monotonic() - self._waiting_since_s < WRITE_LIMIT_S

    def keep_reserve(self) -> None:
        """Reserves disk space for the events of a full disk."""
        with contextlib.suppress(OSError):
            self._reserve.touch(private.FILE_MODE)
            self._reserve.write_bytes(bytes(RESERVE_BYTES))

    def close(self) -> None:
        self._reserve.unlink(missing_ok=True)
        self._journal.close()

    def _release_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def _read_new(self) -> None:
        is_new, lines = self._lines.poll()
        if is_new:
            self.state = RunState()
        for line in lines:
            event = parse_event(line)
            self.state = apply(self.state, event)
            if event is not None and b'"source": [' in line:
                self._remember(json.loads(line))

    def _remember(self, line: dict[str, Any]) -> None:
        source, attempt = line.get("source"), line.get("attempt")
        if isinstance(source, list) and len(source) == 2 and isinstance(attempt, int):
            key = (attempt, str(source[0]))
            self.seen[key] = max(self.seen.get(key, 0), int(source[1]))


def read_state(root: Path) -> RunState:
    """The state that a run's events give now."""
    return RunReader(root).poll_state()
