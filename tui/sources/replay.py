"""Plays a run directory: a copy of it grows (or shrinks) to what was there at the replay's time.

So every reader of a live run reads a replay too, and nothing in the dashboard knows two kinds of
run. The copy is in a temporary folder, which is removed at exit.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from launcher import client
from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.events import AttemptFailed, AttemptStarted, parse_event
from launcher.core.run.metrics import DEVICE_BYTES, METRIC_BYTES
from launcher.core.run.paths import RankPaths, RunPaths
from launcher.core.run.state import RunStatus
from tui.model.run import FrameRequest, RunFrame
from tui.sources.live import LiveRun, LiveSource, launcher_errors
from tui.sources.source import REPLAY, SourceError

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 2000.0)
REMOVE_LIMIT_S: Final = 1.0


@dataclass(slots=True)
class ReplayClock:
    """Where the replay stands; ``wall`` is a monotonic clock in seconds.

    The thread that polls reads it, and the screen's keys change it.
    """

    start: float
    end: float
    speed: float
    wall: Callable[[], float] = time.monotonic
    playing: bool = True
    pause_at: tuple[float, ...] = ()  # moments at which it pauses by itself
    _at: float = 0.0
    _since: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._at, self._since = self.start, self.wall()

    def now(self) -> float:
        """The moment that is shown, Unix seconds; never after the end."""
        with self._lock:
            if self.playing:
                wall, before = self.wall(), self._at
                self._at = min(before + (wall - self._since) * self.speed, self.end)
                self._since = wall
                for moment in self.pause_at:
                    if before < moment <= self._at:
                        self._at, self.playing = moment, False
                        break
            return self._at

    def pause(self) -> None:
        with self._lock:
            self.now()
            self.playing, self._since = not self.playing, self.wall()

    def seek(self, by_s: float) -> None:
        with self._lock:
            self._at = min(max(self.now() + by_s, self.start), self.end)

    def faster(self, by: int) -> None:
        with self._lock:
            self.now()
            at = bisect_right(SPEEDS, self.speed) - 1
            self.speed = SPEEDS[max(0, min(at + by, len(SPEEDS) - 1))]

    @property
    def badge(self) -> str:
        """``replay 10x 3:20 of 12:05``."""
        state = f"replay {self.speed:g}x" if self.playing else "paused: press p to continue "
        if self._at >= self.end:
            state = "replay at its end"
        return f"{state} {_clock(self._at - self.start)} of {_clock(self.end - self.start)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass(frozen=True, slots=True)
class _Growing:
    """A file and, for each moment at which it grew, its length from then on."""

    source: Path
    copy: Path
    times: tuple[float, ...]
    lengths: tuple[int, ...]

    def length(self, now: float) -> int:
        at = bisect_right(self.times, now)
        return self.lengths[at - 1] if at else 0


class _ReplayReader(client.RunReader):
    """Takes the status from the events: in a replay no process exists."""

    def status(self, now_s: float | None = None) -> RunStatus:
        return self.state.status


class Copies:
    """The temporary folder with the copies. While one thread writes, no other removes them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="effnet-replay-", ignore_cleanup_errors=True
        )
        self.path = Path(self._folder.name)
        self._lock = threading.Lock()
        self._is_gone = False

    @contextmanager
    def changing(self) -> Iterator[bool]:
        """Whether the copies may be written to; they are not removed meanwhile."""
        with self._lock:
            yield not self._is_gone

    def remove(self) -> None:
        # A thread that hangs in a dead file system must not keep the process alive.
        held = self._lock.acquire(timeout=REMOVE_LIMIT_S)
        self._is_gone = True
        self._folder.cleanup()
        if held:
            self._lock.release()


class ReplayRun(LiveRun):
    """A run as it was at the clock's time. With ``pauses`` it stands still at each failure."""

    def __init__(
        self, root: Path, speed: float, folder: Path, copies: Copies, pauses: bool = False
    ) -> None:
        self._copies = copies  # the folder is removed with its last reference
        self._files = tuple(_growing_files(RunPaths(root), RunPaths(folder)))
        self._resumes = tuple(_resumes(RunPaths(root).events))
        times = [moment for file in self._files for moment in (file.times[:1] + file.times[-1:])]
        if not times:
            raise SourceError(f"{root} has no events that could be played")
        self.clock = ReplayClock(min(times), max(times) + 1.0, speed)
        if pauses:
            self.clock.pause_at = tuple(_failures(RunPaths(root).events))
        for name in ("run.json", "profile.json", "config.toml"):
            if (root / name).is_file():
                shutil.copyfile(root / name, folder / name)
        self._shown: dict[Path, int] = {}
        self._grow(self.clock.now())
        super().__init__(_ReplayReader(folder), self.clock.now)
        self.player = self.clock

    def frame(self, request: FrameRequest) -> RunFrame:
        self._grow(self.clock.now())
        return super().frame(request)

    def restart(self) -> client.ResumeChoice:
        """The checkpoint from which the run was resumed next; nothing is resumed in a replay."""
        now = self.clock.now()
        for time_s, point in self._resumes:
            if time_s > now:
                lost = point.steps_lost
                return client.ResumeChoice(point.path, REPLAY, point.epoch, point.step, lost)
        return client.ResumeChoice(None, REPLAY)

    def _grow(self, now: float) -> None:
        with self._copies.changing() as may_grow:
            for file in self._files if may_grow else ():
                length, before = file.length(now), self._shown.get(file.copy, -1)
                if length == before:
                    continue
                self._shown[file.copy] = length
                if length < before:
                    os.truncate(file.copy, length)
                else:
                    _append(file.source, file.copy, max(before, 0), length)
                os.utime(file.copy, (now, now))


def _append(source: Path, copy: Path, first: int, end: int) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, copy.open("ab") as write:
        read.seek(first)
        while first < end and (data := read.read(min(1 << 20, end - first))):
            write.write(data)
            first += len(data)


def _growing_files(source: RunPaths, copy: RunPaths) -> Iterator[_Growing]:
    yield _events(source.events, copy.events)
    for attempt in sorted(source.attempts.glob("[0-9]*")):
        number = int(attempt.name)
        for root in sorted((attempt / "ranks").glob("[0-9]*")):
            yield from _rank(RankPaths(root), copy.attempt(number).rank(int(root.name)))


def _events(source: Path, copy: Path) -> _Growing:
    times: list[float] = []
    lengths: list[int] = []
    length = 0
    try:
        lines = source.read_bytes().splitlines(keepends=True)
    except OSError as problem:
        raise SourceError(f"{source}: {problem.strerror}") from problem
    for line in lines:
        length += len(line)
        event = parse_event(line)
        if event is not None:
            times.append(max(event.t, times[-1] if times else event.t))
            lengths.append(length)
    return _Growing(source, copy, tuple(times), tuple(lengths))


def _resumes(events: Path) -> Iterator[tuple[float, StartCheckpoint]]:
    """When an attempt began that resumed from a checkpoint, and from which."""
    for line in events.read_bytes().splitlines():
        event = parse_event(line)
        if isinstance(event, AttemptStarted) and event.resume is not None:
            yield event.t, event.resume


def _failures(events: Path) -> Iterator[float]:
    """When attempts failed."""
    for line in events.read_bytes().splitlines():
        if isinstance(event := parse_event(line), AttemptFailed):
            yield event.t


def _rank(here: RankPaths, there: RankPaths) -> Iterator[_Growing]:
    reports = _records(here.metrics, METRIC_BYTES, "<d48xq")
    times = tuple(time_s for time_s, _ in reports)
    if times:
        lengths = tuple(METRIC_BYTES * (at + 1) for at in range(len(times)))
        yield _Growing(here.metrics, there.metrics, times, lengths)
    if here.log.is_file():
        size, changed = here.log.stat().st_size, here.log.stat().st_mtime
        known = [(time_s, offset) for time_s, offset in reports if offset > 0]
        moments = [time_s for time_s, _ in known]
        # A report's line ends where the next one begins, at the latest.
        ends = [offset for _, offset in known[1:]]
        last = max(changed, moments[-1] if moments else changed)
        yield _Growing(here.log, there.log, (*moments[: len(ends)], last), (*ends, size))
    for source, copy in ((here.device, there.device), (here.load, there.load)):
        if samples := _records(source, DEVICE_BYTES, "<dq16x"):  # both are as long
            lengths = tuple(DEVICE_BYTES * (at + 1) for at in range(len(samples)))
            yield _Growing(source, copy, tuple(at for at, _ in samples), lengths)


def _records(path: Path, size: int, layout: str) -> list[tuple[float, int]]:
    """Time and a whole number of each record; times never decrease."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    found: list[tuple[float, int]] = []
    for time_s, number in struct.iter_unpack(layout, data[: len(data) - len(data) % size]):
        found.append((max(time_s, found[-1][0]) if found else time_s, int(number)))
    return found


class ReplaySource(LiveSource):
    """Opens runs as replays. The dashboard is read-only around it."""

    pauses: ClassVar = False

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed
        self._copies = Copies()
        self._count = 0

    def close(self) -> None:
        self._copies.remove()

    def open(self, name: str) -> ReplayRun:
        with launcher_errors():
            root = client.open_run(name).paths.root
        self._count += 1
        folder = self._copies.path / str(self._count) / root.name
        folder.mkdir(parents=True)
        return ReplayRun(root, self._speed, folder, self._copies, self.pauses)
