"""Reports changes of a run without a screen: each once, in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path

from launcher.core.diagnosis.notices import Notice, notice_of
from launcher.core.run.events import parse_event
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.process import file_lock, private
from launcher.process.log import log_line
from launcher.reading.growing import GrowingLines
from launcher.store.atomic import write_file
from launcher.store.owner import private_folder
from launcher.store.run import StoredRun
from launcher.supervisor.notice_targets import Target, targets_of

FILE, LOCK = "notified.json", "notified.lock"
LOOK_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S, GIVE_UP_S = 1.0, 60.0, 600.0
"""Between tries of a notice that cannot be sent, and for how long it is tried."""
LAST_S = 60.0
"""So long the last notices may take when the run is over."""


class Notifier:
    """Reads the run's events and sends what the profile asks for.

    The number of the newest event that was handled is kept outside of the run directory. It is
    written after a notice was sent, so a supervisor that dies in between leaves its successor one
    to send again, with the same id. While a notice is being sent, no other notifier of the run
    can read that number: a lock is held.
    """

    def __init__(self, run: StoredRun, first_n: int) -> None:
        """`first_n`: events up to this number are old news, unless it is known what was sent."""
        self._run = run
        self._targets = targets_of(run.profile)
        self._on = frozenset(run.profile.notify.on)
        self._first_n = first_n
        self._lines = GrowingLines(run.paths.events)
        self._state = RunState()
        self._ends = threading.Event()
        self._must_stop_s = float("inf")
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)

    def start(self) -> None:
        if self._targets:
            self._thread.start()

    def close(self, limit_s: float = LAST_S) -> None:
        """Sends what is left, for at most `limit_s`."""
        if self._targets:
            self._must_stop_s = time.monotonic() + limit_s
            self._ends.set()
            self._thread.join(limit_s + 5.0)

    @property
    def _file(self) -> Path:
        return private_folder(self._run.paths.root) / FILE

    def _work(self) -> None:
        lock = self._file.with_name(LOCK)
        try:
            private.make_folder(lock.parent)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private.FILE_MODE)
            try:
                while not file_lock.try_lock(fd):  # the supervisor before sends its last ones
                    if self._ends.wait(LOOK_S) and time.monotonic() > self._must_stop_s:
                        return
                self._follow()
            finally:
                os.close(fd)
        except OSError as error:
            log_line(f"notifications end: {error}")

    def _follow(self) -> None:
        done = self._read_done()
        self._write_done(done)  # the next supervisor begins here, whatever this one can send
        while True:
            is_last = self._ends.is_set()
            is_new, lines = self._lines.poll()
            if is_new:
                self._state = RunState()
            for line in lines:
                event = parse_event(line)
                before = self._state
                self._state = apply(before, event)
                if event is None or event.n <= done:
                    continue
                notice = notice_of(event, before, self._state)
                if notice is not None and notice.kind in self._on:
                    self._send(notice)
                    done = event.n
                    self._write_done(done)
            if is_last:
                return
            self._ends.wait(LOOK_S)

    def _send(self, notice: Notice) -> None:
        """To all targets; those that fail are tried again."""
        left: list[Target] = list(self._targets)
        pause_s, until = FIRST_PAUSE_S, time.monotonic() + GIVE_UP_S
        while True:
            problems = []
            for target in list(left):
                problem = target.send(notice)
                if problem:
                    problems.append(f"{target.name}: {problem}")
                else:
                    left.remove(target)
            if not left:
                return
            now = time.monotonic()
            limit = min(until, self._must_stop_s)
            what = f"notification {notice.id} was not sent: {'; '.join(problems)}"
            if now + pause_s > limit:
                log_line(f"{what}; it is given up")
                return
            log_line(f"{what}; next try in {pause_s:g} s")
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        # Once the run is over, `_ends` is set and no longer something to wait for.
        if self._ends.is_set():
            time.sleep(seconds)
        elif self._ends.wait(seconds):
            time.sleep(FIRST_PAUSE_S)

    def _read_done(self) -> int:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return int(json.loads(self._file.read_text())["n"])
        return self._first_n

    def _write_done(self, n: int) -> None:
        write_file(self._file, json.dumps({"n": n}) + "\n")
