"""A person at a terminal, who answers what ssh asks."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable

from tests.cluster.lab import ROOT

LIMIT_S = 120


def at_terminal(
    argv: list[str], asks: str = "", answer: Callable[[int], object] | None = None
) -> str:
    """Runs a command at a terminal. -> what the terminal shows.

    `answer` is called when it shows `asks`, with the file to which a person's keys are written.
    """
    main, side = pty.openpty()
    child = subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(side)
    shown, deadline = b"", time.monotonic() + LIMIT_S
    try:
        while True:
            assert time.monotonic() < deadline, shown
            if not select.select([main], [], [], 0.1)[0]:
                continue
            try:
                shown += os.read(main, 1 << 16)
            except OSError:
                break  # nobody has the terminal open any more
            if answer is not None and asks.encode() in shown:
                answer(main)
                answer = None
    finally:
        # The terminal is gone: what belongs to it gets SIGHUP.
        os.close(main)
        child.wait(LIMIT_S)
    return shown.decode()


def launch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launcher.cli.app", *arguments]
