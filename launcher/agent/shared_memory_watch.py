"""Writes down which shared memory a node's ranks use, so that it can be removed after them.

A thread of its own: to read a process's mappings must not hold the agent up. Segments are mostly
made at the start, so looks become rarer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from launcher.core.run.paths import node_journal
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.process import shared_memory
from launcher.process.log import log_line
from launcher.process.shared_memory import Creator, Segment
from launcher.store import atomic
from launcher.store.journal import read_lines

FIRST_LOOK_S, LAST_LOOK_S = 1.0, 60.0


def shm_file(journal: Path) -> Path:
    """Where a node's agent writes down the segments of its ranks."""
    return journal.with_suffix(".shm.json")


class SegmentWatch:
    """`pids`: the processes that are ours now; asked from the thread."""

    def __init__(self, file: Path, pids: Callable[[], Collection[int]]) -> None:
        self._file = file
        self._pids = pids
        self._seen: set[Segment] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segments", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(FIRST_LOOK_S)

    def _run(self) -> None:
        wait_s = FIRST_LOOK_S
        while not self._stop.wait(wait_s):
            self.look()
            wait_s = min(2 * wait_s, LAST_LOOK_S)

    def look(self) -> None:
        found = shared_memory.mapped_by(self._pids()) - self._seen
        if found:
            self._seen |= found
            text = json.dumps([to_plain(segment) for segment in self._seen])
            try:
                atomic.write_file(self._file, text + "\n")
            except OSError as error:
                log_line(f"{self._file} cannot be written: {error}")


def left_by(attempt: Path, node: str) -> list[Segment]:
    """What the ranks of a node left in one attempt that is over."""
    journal = node_journal(attempt, node)
    known = set(_recorded(shm_file(journal)))
    started = [line for _, line in read_lines(journal) if _kind(line) == "rank_started"]
    creators = [
        Creator(int(line["pid"]), float(line["start_time"]))
        for line in started
        if isinstance(line.get("pid"), int) and isinstance(line.get("start_time"), float)
    ]
    if not creators:
        return []
    began = min(creator.started for creator in creators)
    mine = {segment for segment in known if segment.made >= int(began) - 1}
    # A segment's size says nothing about which one it is.
    unsized = {replace(segment, size_bytes=0) for segment in mine | shared_memory.made_by(creators)}
    return shared_memory.left_over(unsized)


def remove_left(attempt: Path, node: str) -> str:
    """Removes what killed ranks left: the next attempt needs its room. -> a sentence, or empty."""
    left = left_by(attempt, node)
    removed = [segment.words for segment in left if shared_memory.remove(segment)]
    return f"shared memory that its ranks left was removed: {', '.join(removed)}" if removed else ""


def _kind(line: dict[str, object]) -> object:
    # Agents of older versions wrote `type`.
    return line.get("kind", line.get("type"))


def _recorded(file: Path) -> list[Segment]:
    try:
        return [from_plain(Segment, item) for item in json.loads(file.read_text())]
    except (OSError, ValueError, TypeError, Mismatch):
        return []
