"""What the kernel wrote of a process that it killed, where this user may read it; its count."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from launcher.process import load, tools

KERNEL_MESSAGES = "/dev/kmsg"
JOURNAL = ("journalctl", "--dmesg", "--output=cat", "--since=-60s", "--no-pager", "--quiet")
JOURNAL_LIMIT_S = 0.5
"""The end of a rank is reported soon also where the journal is slow."""
RECENT_S = 60.0
MOST_LINES = 3
RECORD_BYTES = 8192
DOUBT_S = 600.0
COUNT_S = 5.0


class _Count(NamedTuple):
    """`own`: of our cgroup, which is that of the ranks as long as nothing of theirs has moved."""

    time_s: float
    own: int | None
    machine: int | None


class OomKills:
    """Whether the kernel has lately killed a process because memory was short.

    A process with much memory may die long after it was chosen, so the count is compared with that
    of a minute ago. A kill of the day before explains nothing. One in between may, as may one in
    another cgroup: a rank's own, say.
    """

    def __init__(self) -> None:
        self._counts = deque([_counted(time.monotonic())])

    def look(self, now: float) -> None:
        """To be called often. `now`: monotonic seconds."""
        if now >= self._counts[-1].time_s + COUNT_S:
            self._counts.append(_counted(now))
        while len(self._counts) > 1 and self._counts[1].time_s <= now - DOUBT_S:
            self._counts.popleft()

    @property
    def has_killed(self) -> bool | None:
        """None where that is not sure, or the kernel does not count them."""
        now, first, minute_ago = _counted(0.0), self._counts[0], self._counts[-1].time_s - RECENT_S
        older = (count for count in reversed(self._counts) if count.time_s <= minute_ago)
        before = next(older, first)
        if now.own is None or before.own is None:
            return None
        if now.own > before.own:
            return True
        is_sure = now.machine is not None and now.machine == before.machine
        return False if is_sure and now.own == first.own else None


def _counted(now: float) -> _Count:
    return _Count(now, load.oom_kills(os.getpid()), load.machine_oom_kills())


def lines_about(pid: int) -> tuple[str, ...]:
    """Recent lines that name the process, the newest last; none where they can't be read."""
    named = re.compile(rf"\b(?:process |pid[ =]){pid}\b")
    try:
        lines = list(_messages())
    except OSError:  # not permitted, or another system
        lines = tools.output(JOURNAL, os.environ, JOURNAL_LIMIT_S)[0].splitlines()
    return tuple(line for line in lines if named.search(line))[-MOST_LINES:]


def _messages() -> Iterator[str]:
    """The kernel's messages of the last minute. Raises OSError when they can't be read."""
    oldest_us = (time.clock_gettime(time.CLOCK_MONOTONIC) - RECENT_S) * 1e6
    fd = os.open(KERNEL_MESSAGES, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(fd, RECORD_BYTES)
            except BlockingIOError:  # the end
                return
            except BrokenPipeError:  # this record was overwritten
                continue
            if not record:
                return
            head, _, text = record.decode("utf-8", "replace").partition(";")
            with contextlib.suppress(IndexError, ValueError):
                if int(head.split(",")[2]) >= oldest_us:
                    yield text.splitlines()[0]
    finally:
        os.close(fd)
