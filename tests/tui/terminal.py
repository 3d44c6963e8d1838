"""The dashboard in a real pseudo-terminal, its screen held by pyte."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
"""For what takes a second on an idle machine."""


class Terminal:
    """A child in a terminal of ``columns`` × ``rows``."""

    def __init__(
        self, argv: list[str], columns: int, rows: int, environ: Mapping[str, str]
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.child = pexpect.spawn(
            argv[0], argv[1:], dimensions=(rows, columns), env=dict(environ), timeout=LIMIT_S
        )

    def read(self, seconds: float = 0.3) -> None:
        """Take in what comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                data = self.child.read_nonblocking(65536, timeout=left)
            except pexpect.TIMEOUT:
                return
            except pexpect.EOF:
                return
            self.raw += data
            # pyte does not know the kitty keyboard protocol and would print it.
            self.stream.feed(re.sub(rb"\x1b\[[<>=]\d*u|\x1b\[\?\d+\$p", b"", data))

    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, true: Callable[[str], bool], limit_s: float = LIMIT_S) -> str:
        """Until the screen's text is as wanted."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            self.read(0.2)
            if true(self.text()):
                return self.text()
        raise AssertionError(f"did not come about:\n{self.text()}")

    def sees(self, *texts: str) -> str:
        """Until all texts are on the screen."""
        return self.wait(lambda screen: all(text in screen for text in texts))

    def resize(self, columns: int, rows: int) -> None:
        """Another size."""
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)


@contextmanager
def terminal(
    *arguments: str, columns: int = 80, rows: int = 24, **environ: str
) -> Iterator[Terminal]:
    """``effnet-tui`` with these arguments, ended at the end."""
    plain = {
        key: value
        for key, value in os.environ.items()
        if key not in ("NO_COLOR", "COLORTERM", "TERM_PROGRAM", "TMUX")
    }
    known = {**plain, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    shown = Terminal([sys.executable, "-m", "tui", *arguments], columns, rows, {**known, **environ})
    try:
        yield shown
    finally:
        if not shown.child.closed:
            _hang_up(shown.child)


def _hang_up(child: pexpect.spawn) -> None:
    """Closes the terminal, so that the dashboard removes its temporary files, and waits for it."""
    with suppress(pexpect.ExceptionPexpect):
        child.close(force=False)  # waits 0.1 s, and then raises
    deadline = time.monotonic() + LIMIT_S
    while child.ptyproc.isalive():
        if time.monotonic() > deadline:
            child.ptyproc.kill(signal.SIGKILL)
        time.sleep(0.02)
