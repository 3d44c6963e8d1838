"""What the kernel wrote about a process that it killed, where this user may read that."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator

from launcher.process import tools

KERNEL_MESSAGES = "/dev/kmsg"
JOURNAL = ("journalctl", "--dmesg", "--output=cat", "--since=-60s", "--no-pager", "--quiet")
JOURNAL_LIMIT_S = 0.5
"""The end of a rank is reported soon also where the journal is slow."""
RECENT_S = 60.0
MOST_LINES = 3
RECORD_BYTES = 8192


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
