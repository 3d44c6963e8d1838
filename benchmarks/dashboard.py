"""What the dashboard costs, beside stock Textual widgets, top and W&B LEET, in one run.

    python benchmarks/dashboard.py [--seconds 10]
    python benchmarks/dashboard.py --wandb-python venv/bin/python
    python benchmarks/dashboard.py --hour-only
    python benchmarks/dashboard.py --many 1024

Each program runs in its own pseudo-terminal while the eight ranks of a real run, of the tests'
stand-in for the trainer, report four steps a second. CPU and memory are those of the process and
its children, CPU in percent of one core; bytes are those sent to the terminal. LEET (`pip install
wandb` in any environment) shows a run that logs four figures of each rank at the same rate; it
draws one chart for each.

With `--many`, the dashboard shows a run directory of that many ranks, to which this program adds a
step of all ranks a second: no ranks of a launcher share the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
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
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rows import head, row

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tui")]

from dashboard_peers import LEET_RUN, STOCK  # noqa: E402
from made_run import MadeRun  # noqa: E402

from launcher import client  # noqa: E402
from tests.launcher.conftest import Lab  # noqa: E402

BIG = (160, 48)

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

    def wait_until_shown(self, limit_s: float = 30.0) -> None:
        """Until the last thing of the dashboard's first frame is there, the footer."""
        while b"Quit" not in self.tail and time.monotonic() - self.started < limit_s:
            self.drain(0.01)

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


@dataclass(frozen=True)
class Cost:
    """Of a program in a terminal; `cpu` in percent of one core."""

    cpu: float
    kib_a_second: float
    mib: float


def measure(
    argv: list[str], seconds: float, size: tuple[int, int], keys: str, **environ: str
) -> Cost:
    child = Child(argv, *size, environ)
    if "tui" in argv:
        child.wait_until_shown()
    child.drain(4)
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
    return Cost(cpu, rate, memory)


def measure_answer(name: str, seconds: float, **environ: str) -> None:
    """Print one row: how late the event loop comes, and how soon a key is seen."""
    with tempfile.NamedTemporaryFile() as lags:
        environ = {**environ, "LAGS": lags.name}
        child = Child([sys.executable, "-c", LAGGED, environ["RUN"]], *BIG, environ)
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
        print(f"{name}: did not exit", file=sys.stderr)
        return
    middle, p95, worst = (float(word) * 1000 for word in words)
    lag = f"{middle:.1f}, {p95:.0f} ({worst:.0f}) ms"
    row(name, f"{cpu:.1f} %", lag, f"{statistics.median(answers):.0f}, {answers[18]:.0f} ms")


@contextlib.contextmanager
def running(ranks: int, step_s: float, lines_hz: int = 0) -> Iterator[dict[str, str]]:
    """A run of the tests' stand-in, with 500 steps behind it: the only one of this environment.

    `lines_hz`: so many lines a second are added to rank 0's log.
    """
    with tempfile.TemporaryDirectory(prefix="effnet-bench-", dir="/tmp") as name:
        environ = {
            "EFFNET_RUNS_DIR": f"{name}/runs",
            "XDG_RUNTIME_DIR": name,
            "XDG_STATE_HOME": name,
            "LAB_MARK": f"lab-{uuid.uuid4().hex}",
            "PYTHONPATH": str(ROOT),
            "COLORTERM": "truecolor",
        }
        os.environ.update(environ)
        lab, ends = Lab(Path(name), environ["LAB_MARK"]), threading.Event()
        try:
            root = lab.start(ranks=ranks, step_s=step_s, fast=500, steps=625, epochs=100)
            lab.until(lambda: has_steps(root, 500), timeout_s=600)
            log = root / "attempts/001/ranks/0000/log.txt"
            writer = threading.Thread(target=write_lines, args=(log, lines_hz, ends))
            writer.start()
            yield {**environ, "RUN": root.name}
            ends.set()
            writer.join()
            client.stop(root, client.StopRequest(save=False))
            lab.nothing_left(60)
        finally:
            ends.set()
            lab.end_all()


def has_steps(root: Path, count: int) -> bool:
    snapshot = client.open_run(root).poll()
    return bool(snapshot.ranks) and min(rank.step or 0 for rank in snapshot.ranks) >= count


def write_lines(log: Path, lines_hz: int, ends: threading.Event) -> None:
    started, number = time.monotonic(), 0
    while not ends.wait(0.05):
        due = int((time.monotonic() - started) * lines_hz)
        if number < due:
            with log.open("a") as file:
                file.writelines(f"line {at}: a line of a worker\n" for at in range(number, due))
            number = due


def write_ended(folder: Path, name: str, steps: int) -> None:
    """A run of 8 ranks that is over, with a step a second."""
    run = MadeRun(folder, name, ranks=8, late=5, time_s=time.time() - 5000)
    run.start()
    run.steps(steps)
    run.finish()


def measure_leet(python: Path, seconds: float, **environ: str) -> Cost:
    """Of W&B LEET of the environment of `python`."""
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
            return measure(argv, seconds, BIG, "", **environ)
        finally:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()


def costs(seconds: float, wandb_python: Path | None, **environ: str) -> None:
    """CPU, bytes to the terminal, memory."""
    ours = [sys.executable, "-m", "tui"]
    run, small = [*ours, environ["RUN"]], (80, 24)
    found = {
        "eight ranks, all panels, 4 Hz": measure(run, seconds, BIG, "", **environ),
        "eight ranks, log closed": measure(run, seconds, BIG, "4", **environ),
        "eight ranks, table only": measure(run, seconds, BIG, "42", **environ),
        "eight ranks, all logs as one": measure(run, seconds, BIG, "a", **environ),
        "eight ranks, 80 × 24": measure(run, seconds, small, "", **environ),
    }
    write_ended(Path(environ["EFFNET_RUNS_DIR"]), "ended", 900)
    over = measure([*ours, "ended"], seconds, BIG, "", **environ)
    stock = measure([sys.executable, "-c", STOCK], seconds, BIG, "", **environ)
    found = {"a run that is over": over, **found}
    found["Textual's own table, log and three sparklines"] = stock
    if wandb_python:
        found["W&B LEET, 32 charts"] = measure_leet(wandb_python, seconds, **environ)
    if shutil.which("top"):
        found["`top -d 0.25`"] = measure(["top", "-d", "0.25"], seconds, BIG, "", **environ)
    head("", "CPU of one core", "share of the stock's", "to the terminal", "memory")
    for name, cost in found.items():
        shown = (f"{cost.cpu:.1f} %", f"{cost.cpu / stock.cpu:.2f}")
        row(name, *shown, f"{cost.kib_a_second:.0f} KiB/s", f"{cost.mib:.0f} MiB")
    starts = []
    for _ in range(5):
        child = Child(ours, *BIG, environ)
        child.wait_until_shown()
        starts.append(time.monotonic() - child.started)
        child.end()
    first, most = statistics.median(starts), max(starts)
    print(f"\nFirst frame, median of five: {first:.2f} s, at most {most:.2f} s.\n")


def measure_many(ranks: int, seconds: float) -> None:
    """Print what the first frame and each further second cost with very many ranks."""
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        run = MadeRun(Path(folder), "many", ranks, nodes=8, late=5, time_s=time.time() - 200)
        run.start()
        run.steps(200)
        environ = {"EFFNET_RUNS_DIR": folder, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": folder}
        child = Child([sys.executable, "-m", "tui", "many", "--readonly"], *BIG, environ)
        child.wait_until_shown()
        first_s, shown_s = child.cpu_s(), time.monotonic() - child.started
        ends = threading.Event()

        def write() -> None:
            while not ends.wait(max(0.0, run.time_s + 1 - time.time())):
                run.steps(1)

        writer = threading.Thread(target=write)
        writer.start()
        child.drain(10)
        before, started = child.cpu_s(), time.monotonic()
        child.drain(seconds)
        cpu = (child.cpu_s() - before) / (time.monotonic() - started) * 100
        memory = sum(process.memory_info().rss for process in child.processes()) / 2**20
        ends.set()
        writer.join()
        child.end()
    shown = (f"{shown_s:.2f} s", f"{first_s:.2f} s", f"{cpu:.1f} %", f"{memory:.0f} MiB")
    row(f"{ranks:,}", *shown)


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
    head(f"an hour replayed in {minutes:g} min, 10 Hz", "MiB")
    row("after a tenth of it", f"{sizes[0]:.1f}")
    row("after half of it", f"{sizes[4]:.1f}")
    row("at its end", f"{sizes[-1]:.1f}")
    row("300 frames more, without new data", f"{after - before:+.1f}")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--wandb-python", type=Path, help="of an environment with wandb")
    parser.add_argument("--answers-only", action="store_true", help="only lag and key to paint")
    parser.add_argument("--hour-only", action="store_true", help="only an hour's replay")
    parser.add_argument("--hour-minutes", type=float, default=2.0, help="of the replay")
    parser.add_argument(
        "--many", type=int, nargs="+", metavar="RANKS", help="only runs of so many ranks"
    )
    given = parser.parse_args()
    if given.many:
        head("ranks", "first frame", "CPU until then", "CPU of one core", "memory")
        for ranks in given.many:
            measure_many(ranks, given.seconds)
        return
    if given.hour_only:
        with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
            write_ended(Path(folder), "hour", 3600)
            # A replay that is killed leaves its copy in TMPDIR.
            environ = {"EFFNET_RUNS_DIR": folder, "PYTHONPATH": str(ROOT), "TMPDIR": folder}
            replay_memory(given.hour_minutes, **environ)
        return
    with running(8, 0.25) as environ:
        if not given.answers_only:
            costs(given.seconds, given.wandb_python, **environ)
        lag = "lag of the loop: median, p95 (most)"
        head("", "CPU of one core", lag, "key to paint: median, p95")
        measure_answer("eight ranks, all panels", given.seconds, **environ)
    with running(8, 0.25, 20_000) as environ:
        measure_answer("eight ranks, 20,000 log lines a second", given.seconds, **environ)
    with running(64, 1.0) as environ:
        measure_answer("64 ranks, a step a second", given.seconds, **environ)


if __name__ == "__main__":
    main()
