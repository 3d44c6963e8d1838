"""What the dashboard costs, beside stock Textual widgets and beside top, in one run.

    python benchmarks/dashboard.py [--seconds 10]

Each program runs in a pseudo-terminal of its own while eight made-up ranks report four steps a
second. CPU is the process's own time in percent of one core; bytes are those sent to the terminal.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import pty
import select
import shutil
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tui")]

STOCK = """
from collections import deque
from textual.app import App
from textual.containers import Horizontal
from textual.widgets import DataTable, RichLog, Sparkline
import random
class Stock(App):
    CSS = "Sparkline { height: 14; width: 1fr; } Horizontal { height: 14; }"
    def compose(self):
        yield DataTable()
        with Horizontal():
            for _ in range(3):
                yield Sparkline([random.random() for _ in range(300)])
        yield RichLog(max_lines=10000)
    def on_mount(self):
        table = self.query_one(DataTable)
        names = "rank state node step loss time late memory age"
        self.columns = table.add_columns(*names.split())
        self.rows = [table.add_row(str(n), *["x"] * 8) for n in range(8)]
        self.count = 0
        self.set_interval(0.25, self.tick)
    def tick(self):
        self.count += 1
        table = self.query_one(DataTable)
        for row in self.rows:
            for column in self.columns[3:]:
                table.update_cell(row, column, f"{self.count % 997} ms")
        for spark in self.query(Sparkline):
            spark.data = [*spark.data[1:], random.random()]
        self.query_one(RichLog).write(f"epoch: [ 1/ 20], step:[{self.count:5}/ 45], loss:[1.1/1.2]")
Stock().run()
"""


class Child:
    """A program in a terminal of ``columns`` × ``rows``."""

    def __init__(self, argv: list[str], columns: int, rows: int, environ: dict[str, str]) -> None:
        self.started = time.monotonic()
        self.bytes = 0
        self.first_frame_s: float | None = None
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm-256color", **environ})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = psutil.Process(pid)

    def drain(self, seconds: float) -> None:
        """Read what it prints, as a terminal does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            self.bytes += len(data)
            if self.first_frame_s is None and b"profiles" in data:
                self.first_frame_s = time.monotonic() - self.started

    def end(self) -> None:
        """Kill it and collect it."""
        self.process.kill()
        os.close(self.fd)
        self.process.wait()


def measure(
    name: str, argv: list[str], seconds: float, size: tuple[int, int], keys: str, **environ: str
) -> None:
    """Print one row."""
    child = Child(argv, *size, environ)
    child.drain(4)
    for key in keys:
        os.write(child.fd, key.encode())
        child.drain(0.3)
    child.drain(2)
    before, sent = child.process.cpu_times(), child.bytes
    started = time.monotonic()
    child.drain(seconds)
    took = time.monotonic() - started
    after = child.process.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / took * 100
    rate = (child.bytes - sent) / took / 1024
    memory = child.process.memory_info().rss / 2**20
    child.end()
    print(f"{name:<44} {cpu:6.1f} % {rate:8.1f} KiB/s {memory:6.0f} MiB", flush=True)


def write_run(folder: str, pid: int) -> None:
    """Eight ranks, four steps a second, until killed."""
    from made_run import MadeRun

    run = MadeRun(Path(folder), "bench", ranks=8, late=5, time_s=time.time() - 500, pid=pid)
    run.start()
    run.steps(500)
    while True:
        run.time_s = time.time()
        run.steps(1, seconds=0.0)
        time.sleep(0.25)


def write_ended(folder: str) -> None:
    """A run that is over."""
    from made_run import MadeRun

    run = MadeRun(Path(folder), "ended", ranks=8, time_s=time.time() - 5000)
    run.start()
    run.steps(900)
    run.finish()


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    folder = tempfile.mkdtemp(prefix="effnet-bench-")
    writer = multiprocessing.Process(target=write_run, args=(folder, os.getpid()), daemon=True)
    write_ended(folder)
    writer.start()
    time.sleep(2)
    environ = {"EFFNET_RUNS_DIR": folder, "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor"}
    ours = [sys.executable, "-m", "tui"]
    stock = [sys.executable, "-c", STOCK]
    big, small = (160, 48), (80, 24)
    try:
        print(f"{'program':<44} {'CPU':>8} {'to terminal':>14} {'RSS':>10}")
        measure("dashboard, a run that is over", [*ours, "ended"], seconds, big, "", **environ)
        measure(
            "dashboard, 8 ranks, all panels, 4 Hz", [*ours, "bench"], seconds, big, "", **environ
        )
        measure("dashboard, 8 ranks, log closed", [*ours, "bench"], seconds, big, "4", **environ)
        measure("dashboard, 8 ranks, table only", [*ours, "bench"], seconds, big, "42", **environ)
        measure("dashboard, 8 ranks, 80x24", [*ours, "bench"], seconds, small, "", **environ)
        measure("stock widgets, 8 ranks, 3 sparklines, log", stock, seconds, big, "", **environ)
        if shutil.which("top"):
            measure("top -d 0.25", ["top", "-d", "0.25"], seconds, big, "", **environ)
        starts = []
        for _ in range(5):
            child = Child(ours, *big, environ)
            child.drain(2.5)
            starts.append(child.first_frame_s or 9.0)
            child.end()
        print(f"first frame: median {statistics.median(starts):.2f} s, worst {max(starts):.2f} s")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    finally:
        writer.terminate()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
