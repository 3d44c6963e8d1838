"""What the dashboard costs, beside stock Textual widgets, top and W&B LEET, in one run.

    python benchmarks/dashboard.py [--seconds 10]
    python benchmarks/dashboard.py --wandb-python venv/bin/python
    python benchmarks/dashboard.py --hour-only

Each program runs in its own pseudo-terminal while eight made-up ranks report four steps a
second. CPU and memory are those of the process and its children, CPU in percent of one core; bytes
are those sent to the terminal. LEET (`pip install wandb` in any environment) shows a run that
logs four figures of each rank at the same rate; it draws one chart for each.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
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


LEET_RUN = """
import random, sys, time
import wandb
settings = wandb.Settings(console="off")
run = wandb.init(mode="offline", project="bench", dir=sys.argv[1], settings=settings)
keys = [f"{key}/rank{rank}" for rank in range(8) for key in ("loss", "time", "memory", "images")]
print("ready", flush=True)
while True:
    run.log({key: random.random() for key in keys})
    time.sleep(0.25)
"""


LAGGED = """
import asyncio, os, sys, time
from tui.app import Dashboard
lags = []
async def measure():
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - began - 0.01)
async def on_ready(self):
    self._measure = asyncio.create_task(measure())
Dashboard.on_ready = on_ready
from tui.__main__ import main
main(sys.argv[1:])
kept = sorted(lags[300:])  # not the start
with open(os.environ["LAGS"], "w") as file:
    file.write(f"{kept[len(kept) // 2]} {kept[len(kept) * 95 // 100]} {kept[-1]}")
os._exit(0)
"""
PAUSED = b"display paused"


class Child:
    """A program in a terminal of ``columns`` × ``rows``."""

    def __init__(self, argv: list[str], columns: int, rows: int, environ: dict[str, str]) -> None:
        self.started = time.monotonic()
        self.bytes = 0
        self.first_frame_s: float | None = None
        self.tail = b""
        pid, self.fd = pty.fork()
        if pid == 0:
            # Users have compiled modules; a developer may have switched that off.
            known = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
            os.execvpe(argv[0], argv, {**known, "TERM": "xterm-256color", **environ})
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
            self.tail = self.tail[-4096:] + data
            if self.first_frame_s is None and b"profiles" in data:
                self.first_frame_s = time.monotonic() - self.started

    def key_to_paint_s(self) -> float:
        """From a key to the words that it shows; 2 s when they do not appear."""
        self.tail = b""
        started = time.perf_counter()
        os.write(self.fd, b"p")
        while PAUSED not in self.tail and time.perf_counter() - started < 2:
            self.drain(0.002)
        took = time.perf_counter() - started
        os.write(self.fd, b"p")
        self.drain(0.4)
        return took

    def processes(self) -> list[psutil.Process]:
        """It and its children."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """What its processes have used."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)

    def end(self) -> None:
        """Kill it and collect it."""
        for process in self.processes()[::-1]:
            process.kill()
        os.close(self.fd)
        self.process.wait()


def measure(
    name: str, argv: list[str], seconds: float, size: tuple[int, int], keys: str, **environ: str
) -> None:
    """Print one row."""
    child = Child(argv, *size, environ)
    child.drain(4)
    # On a busy machine the start takes longer, and is no part of what is measured.
    while "tui" in argv and b"Quit" not in child.tail and time.monotonic() - child.started < 20:
        child.drain(1)
    for key in keys:
        os.write(child.fd, key.encode())
        child.drain(0.3)
    child.drain(2)
    before, sent = child.cpu_s(), child.bytes
    started = time.monotonic()
    child.drain(seconds)
    took = time.monotonic() - started
    cpu = (child.cpu_s() - before) / took * 100
    rate = (child.bytes - sent) / took / 1024
    memory = sum(process.memory_info().rss for process in child.processes()) / 2**20
    child.end()
    print(f"{name:<44} {cpu:6.1f} % {rate:8.1f} KiB/s {memory:6.0f} MiB", flush=True)


def measure_answer(name: str, run: str, seconds: float, **environ: str) -> None:
    """Print one row: how late the event loop comes, and how soon a key is seen."""
    with tempfile.NamedTemporaryFile() as lags:
        environ = {**environ, "LAGS": lags.name}
        child = Child([sys.executable, "-c", LAGGED, run], 160, 48, environ)
        child.drain(7)
        before, started = child.process.cpu_times(), time.monotonic()
        child.drain(seconds)
        after, took = child.process.cpu_times(), time.monotonic() - started
        cpu = (after.user + after.system - before.user - before.system) / took * 100
        answers = sorted(child.key_to_paint_s() * 1000 for _ in range(20))
        os.write(child.fd, b"q")
        child.drain(2)
        child.end()
        words = Path(lags.name).read_text().split()
    if not words:
        print(f"{name:<44} did not exit")
        return
    middle, p95, worst = (float(word) * 1000 for word in words)
    print(
        f"{name:<44} {cpu:6.1f} %  lag {middle:5.1f} {p95:6.1f} {worst:6.1f} ms"
        f"  key {statistics.median(answers):5.0f} {answers[18]:5.0f} ms",
        flush=True,
    )


def write_run(folder: str, pid: int, name: str, ranks: int, steps_hz: float, lines_hz: int) -> None:
    """Ranks that report, and one that writes ``lines_hz`` lines a second, until killed."""
    from made_run import MadeRun

    run = MadeRun(Path(folder), name, ranks=ranks, late=5, time_s=time.time() - 500, pid=pid)
    run.start()
    run.steps(500 if ranks <= 8 else 100)
    log = run.paths.attempt(1).rank(0).log
    started = next_step = time.monotonic()
    number = 0
    while True:
        if time.monotonic() >= next_step:
            next_step = time.monotonic() + 1 / steps_hz
            run.time_s = time.time()
            run.steps(1, seconds=0.0)
        due = int((time.monotonic() - started) * lines_hz)
        if number < due:
            with log.open("a") as file:
                file.writelines(f"line {at}: a line of a worker\n" for at in range(number, due))
            number = due
        time.sleep(0.05)


def start_writer(
    folder: str, name: str, ranks: int, steps_hz: float, lines_hz: int
) -> multiprocessing.Process:
    """A made-up run in a separate process; returns once it runs."""
    args = (folder, os.getpid(), name, ranks, steps_hz, lines_hz)
    writer = multiprocessing.Process(target=write_run, args=args, daemon=True)
    writer.start()
    time.sleep(2 if ranks <= 8 else 8)
    return writer


def write_ended(folder: str, name: str, steps: int) -> None:
    """A run of 8 ranks that is over, with a step a second."""
    from made_run import MadeRun

    run = MadeRun(Path(folder), name, ranks=8, late=5, time_s=time.time() - 5000)
    run.start()
    run.steps(steps)
    run.finish()


def measure_leet(python: Path, seconds: float, **environ: str) -> None:
    """Print one row for W&B LEET of the environment of `python`."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [str(python), "-c", LEET_RUN, folder]
        writer = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(5)
            argv = [str(python.with_name("wandb")), "leet", "run", f"{folder}/wandb/latest-run"]
            measure("W&B LEET, 32 charts, 4 Hz", argv, seconds, (160, 48), "", **environ)
        finally:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()


def costs(seconds: float, wandb_python: Path | None, **environ: str) -> None:
    """CPU, bytes to the terminal, memory."""
    ours = [sys.executable, "-m", "tui"]
    stock = [sys.executable, "-c", STOCK]
    big, small = (160, 48), (80, 24)
    print(f"{'program':<44} {'CPU':>8} {'to terminal':>14} {'RSS':>10}")
    measure("dashboard, a run that is over", [*ours, "ended"], seconds, big, "", **environ)
    measure("dashboard, 8 ranks, all panels, 4 Hz", [*ours, "bench"], seconds, big, "", **environ)
    measure("dashboard, 8 ranks, log closed", [*ours, "bench"], seconds, big, "4", **environ)
    measure("dashboard, 8 ranks, table only", [*ours, "bench"], seconds, big, "42", **environ)
    measure("dashboard, 8 ranks, all logs as one", [*ours, "bench"], seconds, big, "a", **environ)
    measure("dashboard, 8 ranks, 80x24", [*ours, "bench"], seconds, small, "", **environ)
    measure("stock widgets, 8 ranks, 3 sparklines, log", stock, seconds, big, "", **environ)
    if shutil.which("top"):
        measure("top -d 0.25", ["top", "-d", "0.25"], seconds, big, "", **environ)
    if wandb_python:
        measure_leet(wandb_python, seconds, **environ)
    starts = []
    for _ in range(5):
        child = Child(ours, *big, environ)
        while child.first_frame_s is None and time.monotonic() - child.started < 9:
            child.drain(0.5)
        starts.append(child.first_frame_s or 9.0)
        child.end()
    print(f"first frame: median {statistics.median(starts):.2f} s, worst {max(starts):.2f} s")


def replay_memory(minutes: float, **environ: str) -> None:
    """Play an hour in ``minutes`` at 10 frames a second, and print how memory grows.

    All of an hour's data, and so many frames as ``minutes`` have; an hour at 4 Hz has 14,400.
    """
    speed, seconds = 60 / minutes, minutes * 60
    options = ["--replay", "hour", "--speed", f"{speed:g}", "--refresh", "10"]
    child = Child([sys.executable, "-m", "tui", *options], 160, 48, environ)
    child.drain(5)
    sizes = []
    for _ in range(10):
        child.drain(seconds / 10)
        sizes.append(child.process.memory_info().rss / 2**20)
    child.drain(10)  # to its end
    before = child.process.memory_info().rss / 2**20
    child.drain(30)
    after = child.process.memory_info().rss / 2**20
    child.end()
    shown = " ".join(f"{size:.1f}" for size in sizes)
    print(f"an hour replayed in {minutes:g} min ({speed:g}x, 10 Hz), RSS in MiB: {shown}")
    grown = sizes[-1] - sizes[4]
    print(f"  its second half: {grown:+.1f} MiB in {seconds * 5:.0f} frames")
    print(f"  at its end, 300 frames without new data: {after - before:+.1f} MiB", flush=True)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--wandb-python", type=Path, help="of an environment with wandb")
    parser.add_argument("--answers-only", action="store_true", help="only lag and key to paint")
    parser.add_argument("--hour-only", action="store_true", help="only an hour's replay")
    parser.add_argument("--hour-minutes", type=float, default=2.0, help="of the replay")
    given = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="effnet-bench-")
    environ = {"EFFNET_RUNS_DIR": folder, "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor"}
    environ["TMPDIR"] = folder  # a replay that is killed leaves its copy there
    if given.hour_only:
        write_ended(folder, "hour", 3600)
        replay_memory(given.hour_minutes, **environ)
        shutil.rmtree(folder, ignore_errors=True)
        return
    writer = start_writer(folder, "bench", 8, 4, 0)
    try:
        if not given.answers_only:
            write_ended(folder, "ended", 900)
            costs(given.seconds, given.wandb_python, **environ)
        print(
            f"{'answers at 160x48':<44} {'CPU':>8}  loop lag and key to paint: median, p95 (worst)"
        )
        measure_answer("8 ranks, all panels", "bench", given.seconds, **environ)
        writer.kill()
        for name, run, ranks, lines_hz in (
            ("8 ranks, 20,000 log lines/s", "lines", 8, 20_000),
            ("64 ranks", "many", 64, 0),
        ):
            writer = start_writer(folder, run, ranks, 4 if ranks == 8 else 1, lines_hz)
            measure_answer(name, run, given.seconds, **environ)
            writer.kill()
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    finally:
        writer.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
