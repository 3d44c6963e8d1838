"""Draws the README's pictures and records its cast, from the demo: no trainer, no hardware.

python scripts/picture_dashboard.py            docs/dashboard*.svg and docs/dashboard.cast
python scripts/picture_dashboard.py --svg      only the pictures: a run, its failure, its end
python scripts/picture_dashboard.py --cast     only the cast: keys in a real terminal of 80 x 24

The cast is asciicast v2, for `asciinema play docs/dashboard.cast`. It has what effnet-tui wrote to
its pseudo-terminal; only pauses of more than two seconds are shortened.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# Moments of the recorded run: all ranks train; rank 5 has died, and the run is not yet resumed.
PICTURES = {"dashboard-running.svg": 92.0, "dashboard.svg": 135.5, "dashboard-end.svg": 1e6}
SIZE = (120, 36)
CAST_SIZE = (80, 24)
LONGEST_PAUSE_S = 2.0
SPEED, REFRESH_HZ = 10, 2  # the run's four minutes in 24 s, at half the usual frames
# How long to wait, or for which text, and the key that is pressed then: charts, ranks, all logs,
# the failure, at which it pauses, play on, help.
KEYS: tuple[tuple[float | str, str], ...] = (
    (5.0, "c"), (1.5, "C"), (1.5, "j"), (1.0, "j"), (1.5, "a"), (2.0, "a"), (0.5, "<"),
    ("press p to continue", ""), (4.0, ">"), (0.5, "p"), (5.0, "?"), (2.0, "\x1b"),
    ("FINISHED", ""), (1.5, "q"),
)  # fmt: skip
WAIT_LIMIT_S = 30.0


async def picture(name: str, at_s: float) -> str:
    """The demo at this moment, as SVG."""
    from tui.app import Dashboard
    from tui.settings import Settings
    from tui.sources.recording import DemoSource

    source = DemoSource(1)
    try:
        app = Dashboard(
            source, Settings(), run=str(source.run), theme="dark", readonly=True,
            again="effnet-tui --demo",
        )  # fmt: skip
        async with app.run_test(size=SIZE) as pilot:
            player = None
            while player is None:
                await pilot.pause(0.1)
                player = getattr(app.screen, "player", None)
            player.pause()
            player.seek(at_s)
            await pilot.press("full_stop", "comma")  # poll now
            await pilot.pause(2)
            player.seek(-1e6)
            player.seek(at_s)
            if "running" in name:
                player.pause()  # plays on
            await pilot.pause(2)
            return app.export_screenshot(title="effnet-tui --demo")
    finally:
        source.close()


def unnamed(svg: str) -> str:
    """Replaces the random number in Rich's class names: the same picture is the same file."""
    found = re.search(r"terminal-(\d+)-", svg)
    return svg if found is None else svg.replace(f"terminal-{found[1]}", "terminal")


class Recording:
    """effnet-tui in its own terminal, and what it wrote when."""

    def __init__(self, argv: list[str], columns: int, rows: int, folder: str) -> None:
        self.events: list[tuple[float, str]] = []
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._time_s = 0.0
        environ = {
            **os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        for name in ("NO_COLOR", "COLORTERM"):  # 256 colours make a smaller file
            environ.pop(name, None)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def run(self, seconds: float) -> None:
        """Record what it writes in the next ``seconds``."""
        end = last = time.monotonic()
        end += seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._fd], [], [], left)[0]:
                break
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # it has exited
                return
            now = time.monotonic()
            self._time_s += min(now - last, LONGEST_PAUSE_S)
            last = now
            if text := self._decode.decode(data):
                self.events.append((self._time_s, text))
        self._time_s += min(max(time.monotonic() - last, 0.0), LONGEST_PAUSE_S)

    def run_until(self, words: str) -> None:
        """Record until it has written this text."""
        end, first = time.monotonic() + WAIT_LIMIT_S, len(self.events)
        while not any(words in text for _, text in self.events[first:]):
            if time.monotonic() > end:
                raise SystemExit(f"effnet-tui never wrote {words!r}")
            self.run(0.1)

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def end(self) -> None:
        """Wait for its exit, or kill it."""
        done, _ = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


def cast() -> str:
    """The whole demo at ten times its speed, as asciicast v2."""
    columns, rows = CAST_SIZE
    with tempfile.TemporaryDirectory(prefix="effnet-cast-") as folder:
        options = ["--demo", "--speed", str(SPEED), "--refresh", str(REFRESH_HZ)]
        shown = Recording([sys.executable, "-m", "tui", *options], columns, rows, folder)
        try:
            for seconds, key in KEYS:
                if isinstance(seconds, str):
                    shown.run_until(seconds)
                else:
                    shown.run(seconds)
                shown.press(key)
            shown.run(3)
        finally:
            shown.end()
    head = {
        "version": 2, "width": columns, "height": rows, "title": "effnet-tui --demo",
        "env": {"TERM": "xterm-256color", "SHELL": "/bin/sh"},
    }  # fmt: skip
    lines = [json.dumps(head)]
    for time_s, text in shown.events:
        lines.append(json.dumps([round(time_s, 3), "o", text], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the README's pictures, record its cast.")
    parser.add_argument("--svg", action="store_true", help="only the pictures")
    parser.add_argument("--cast", action="store_true", help="only the cast")
    given = parser.parse_args()
    os.environ.update(TEXTUAL_ANIMATIONS="none", COLORTERM="truecolor")
    os.environ["LANG"] = "C.UTF-8"
    os.environ.pop("NO_COLOR", None)
    if not given.cast:
        for name, at_s in PICTURES.items():
            (DOCS / name).write_text(unnamed(asyncio.run(picture(name, at_s))), "utf-8")
    if not given.svg:
        (DOCS / "dashboard.cast").write_text(cast(), "utf-8")
    for name in (*PICTURES, "dashboard.cast"):
        if (DOCS / name).is_file():
            print(f"docs/{name}: {(DOCS / name).stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
