"""The logs of one rank of a job that another launcher started."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.agent.rank_log import RankLog
from launcher.core.run.events import Event
from launcher.core.run.paths import RankPaths
from launcher.core.run.report_types import EpochReport, StepReport
from launcher.core.run.script_lines import StepFiller, parse
from launcher.process import private
from launcher.store.tail import READ_BYTES, Tail

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\d)[-T ](\d\d:\d\d:\d\d)(?:[.,:](\d{1,6}))?")
STAMP_WITHIN = 200
"""Bytes at the beginning of a line in which its time may be."""
HEAD_BYTES = 64 * 1024
SLACK_S = 60.0
MAX_AGE_S = 400 * 86_400.0


def stamp_of(line: bytes) -> float | None:
    """The time in a line of MindSpore's or mindformers' log, Unix seconds by the local clock."""
    match = _STAMP.search(line[:STAMP_WITHIN])
    if match is None:
        return None
    try:
        read = time.strptime(f"{match[1].decode()} {match[2].decode()}", "%Y-%m-%d %H:%M:%S")
        return time.mktime(read) + float(f"0.{(match[3] or b'0').decode()}")
    except (ValueError, OverflowError):
        return None


class WatchedLog(RankLog):
    """Reads the files that another launcher writes; what it makes of them is in a folder of ours.

    One file is linked there; several (standard output, errors) are joined as they grow. Lines that
    were there before have no known time, unless it is in them: it is estimated from their place
    between ``started_s`` and the time at which the file last changed.
    """

    def __init__(
        self,
        attempt: int,
        rank: int,
        paths: RankPaths,
        files: Sequence[Path],
        world_size: int,
        pattern: re.Pattern[str] | None = None,
        has_local_times: bool = True,
    ) -> None:
        private.make_folder(paths.root)
        self.files = tuple(files)
        self.started_s = 0.0
        self._joined: tuple[Tail, ...] = ()
        if len(files) == 1:
            paths.log.symlink_to(files[0].absolute())
        else:
            paths.log.touch(private.FILE_MODE)
            self._joined = tuple(Tail(path) for path in files)
        super().__init__(attempt, rank, paths)
        self._paths = paths
        self._pattern = pattern
        self._filler = StepFiller(world_size)
        self._has_local_times = has_local_times
        self._time_s = 0.0
        self._before: tuple[int, float] | None = None
        """Length, and time of the last change, of what was there before."""
        self.steps_per_epoch: int | None = None
        self.epochs: int | None = None
        self.highest_step = -1

    @property
    def changed_s(self) -> float | None:
        """When one of its files last grew."""
        times = [path.stat().st_mtime for path in self.files if _has_content(path)]
        return max(times, default=None)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files if _has_content(path))

    def first_stamp(self) -> float | None:
        """The first time that a line of it names."""
        for path in self.files:
            with contextlib.suppress(OSError), path.open("rb") as file:
                for line in file.read(HEAD_BYTES).splitlines():
                    if self._has_local_times and (found := self._believed(stamp_of(line))):
                        return found
        return None

    def read_new(self, now_s: float) -> list[tuple[float, Event]]:
        """Reads some of what is new. -> events, and when each happened."""
        self._join()
        if self._before is None and _has_content(self._paths.log):
            status = os.stat(self._paths.log)
            self._before = status.st_size, self.changed_s or status.st_mtime
        offset, lines = self._tail.read(READ_BYTES)
        found: list[tuple[float, Event]] = []
        for line in lines:
            report = parse(line, self._pattern)
            if report is not None:
                time_s, is_known = self._time_of(line, offset, now_s)
                self._time_s = max(self._time_s, time_s)
                filled = self._filler.fill(report, self._time_s if is_known else None)
                if isinstance(filled, StepReport):
                    self._note(filled)
                if filled is not None and not (self.rank and isinstance(filled, EpochReport)):
                    found += [
                        (self._time_s, event) for event in self._take(filled, self._time_s, offset)
                    ]
            offset += len(line) + 1
        self._metrics.flush()
        return found

    @property
    def is_read(self) -> bool:
        """Whether everything that is there was read."""
        self._join()
        return self._tail.at_end()

    def end(self) -> None:
        """Closes all files."""
        for tail in self._joined:
            tail.close()
        self.close()

    def _note(self, report: StepReport) -> None:
        self.steps_per_epoch = report.steps_per_epoch or self.steps_per_epoch
        self.epochs = report.epochs or self.epochs
        step = report.step if report.global_step is None else report.global_step
        self.highest_step = max(self.highest_step, step)

    def _join(self) -> None:
        for tail in self._joined:
            lines: list[bytes] = tail.read()[1]
            if lines:
                with self._paths.log.open("ab") as file:
                    file.write(b"".join(line + b"\n" for line in lines))
                if changed_s := self.changed_s:
                    os.utime(self._paths.log, (changed_s, changed_s))

    def _time_of(self, line: bytes, offset: int, now_s: float) -> tuple[float, bool]:
        """When a line was written, and whether that is known."""
        stamp = self._believed(stamp_of(line)) if self._has_local_times else None
        if stamp is not None:
            return stamp, True
        size, changed_s = self._before or (0, now_s)
        if offset >= size:
            return now_s, True
        return self.started_s + (changed_s - self.started_s) * (offset + len(line)) / size, False

    def _believed(self, stamp: float | None) -> float | None:
        changed_s = self.changed_s
        if stamp is None or changed_s is None:
            return None
        return stamp if changed_s - MAX_AGE_S < stamp < changed_s + SLACK_S else None


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
