"""The dashboard as a person has it: typed into a shell in tmux, driven by keys, read as text."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
CONFIG = "set -g status off\nset -g default-terminal tmux-256color\nset -g history-limit 2000\n"
MARK = "JOURNEY_MARK"


class Session:
    """One tmux session: a shell of ``columns`` × ``rows``."""

    def __init__(self, server: Server, name: str, columns: int, rows: int) -> None:
        self._server, self._name = server, name
        size = ["-x", str(columns), "-y", str(rows)]
        server.tmux("new-session", "-d", "-s", name, *size, "env PS1='shell> ' ENV= sh")

    def type(self, command: str) -> None:
        """A line for the shell."""
        self._server.tmux("send-keys", "-t", self._name, "-l", command)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Keys, by tmux's names."""
        self._server.tmux("send-keys", "-t", self._name, *keys)

    def text(self) -> str:
        """What is on the screen."""
        return self._server.tmux("capture-pane", "-p", "-t", self._name)

    def wait(self, true: Callable[[str], Any], limit_s: float = 120) -> str:
        """Until the screen is as wanted; -> it."""
        end = time.monotonic() + limit_s
        while not true(text := self.text()):
            if time.monotonic() > end:
                raise AssertionError(f"did not come about:\n{text}")
            time.sleep(0.1)
        return text

    def sees(self, *texts: str, limit_s: float = 120) -> str:
        """Until all ``texts`` are on the screen; a text may be broken by nothing but blanks."""
        return self.wait(lambda shown: all(text in shown for text in texts), limit_s)


class Server:
    """A separate tmux server, and all processes that it started."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._socket = f"journey-{uuid.uuid4().hex[:12]}"
        self.mark = uuid.uuid4().hex
        self._folder = folder
        self._environ = {**environ, MARK: self.mark}
        self._before = {(one.pid, one.create_time()) for one in psutil.process_iter()}
        (folder / "tmux.conf").write_text(CONFIG)

    def tmux(self, *arguments: str) -> str:
        """One tmux command; -> what it prints."""
        argv = ["tmux", "-L", self._socket, "-f", str(self._folder / "tmux.conf"), *arguments]
        done = subprocess.run(
            argv, env=self._environ, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    def left(self) -> list[str]:
        """Every process that is new and has our mark, or our folder, in anything that it shows."""
        found = []
        for process in psutil.process_iter():
            try:
                if (process.pid, process.create_time()) in self._before:
                    continue
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = " ".join(process.cmdline())
                shown = [words, process.cwd(), process.environ().get(MARK, "")]
            except psutil.Error:
                continue
            if any(self.mark in text or str(self._folder) in text for text in shown):
                found.append(f"{process.pid} {words}")
        return found

    def end(self) -> None:
        """The server and all of its windows."""
        subprocess.run(
            ["tmux", "-L", self._socket, "kill-server"],
            capture_output=True,
            timeout=120,
            check=False,
        )

    def kill_left(self) -> None:
        """After a failed test, nothing runs on."""
        for line in self.left():
            pid = int(line.split()[0])
            if pid != os.getpid():
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue


@contextmanager
def server(folder: Path, **environ: str) -> Iterator[Server]:
    """A tmux server; in the end nothing of it is left, and whatever is fails the test."""
    plain = {
        key: value
        for key, value in os.environ.items()
        if key not in ("NO_COLOR", "TMUX", "TMUX_PANE", "COLORTERM")
    }
    path = f"{Path(sys.executable).parent}:{plain.get('PATH', '')}"
    known = {**plain, "PATH": path, "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    made = Server(folder, {**known, **environ})
    try:
        yield made
        made.end()
        end = time.monotonic() + 90
        while (left := made.left()) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left, left
    finally:
        made.end()
        made.kill_left()
