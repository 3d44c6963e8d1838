"""How long Home takes with many runs: until the first runs are seen, and from a key to its effect.

    python benchmarks/home.py [--runs 500 5000] [--repeat 3]

Makes the runs in a temporary folder: copies of one small finished run, 45 steps of two ranks. Each
figure is the median CPU time of this process, so that other programs matter less; on idle cores it
is also the time that passes. `first` is the first time, without kept summaries; `again` is another
start. `seen` begins when the dashboard is made, after the imports, and ends with runs in the table:
the first ones, or all. `list` is `launcher.client.list_runs`. A key ends when the table was drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tui"))

from made_run import MadeRun
from rows import head, row

from launcher import client
from tui.app import Dashboard
from tui.settings import Settings
from tui.sources.live import LiveSource
from tui.widgets.run_table import RunTable

SIZE = (160, 48)
KEYS = {"end": "to the last run", "o": "sort by the next column", "5": "a letter of the filter"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    columns = ("list, first", "list, again", "first seen, first", "all seen, again")
    head("runs", *columns, *KEYS.values())
    for count in options.runs:
        with tempfile.TemporaryDirectory(prefix="home-") as folder:
            figures = measure(Path(folder), count, options.repeat)
        row(f"{count:,}", *(f"{seconds:.3f} s" for seconds in figures))


def measure(folder: Path, count: int, repeat: int) -> list[float]:
    os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
    os.environ["EFFNET_TUI_KEEP"] = "0"
    make_runs(folder, count)
    seen_first, seen_again, keys = [], [], {key: [] for key in KEYS}
    list_first, list_again = [], []
    for number in range(repeat):
        os.environ["XDG_CACHE_HOME"] = str(folder / f"seen-{number}")
        seen_first.append(asyncio.run(start(count, {}, all_of_them=False)))
        os.environ["XDG_CACHE_HOME"] = str(folder / f"list-{number}")
        list_first.append(cpu_s(client.list_runs))
        list_again.append(cpu_s(client.list_runs))
        seen_again.append(asyncio.run(start(count, keys, all_of_them=True)))
    return [
        *map(median, (list_first, list_again, seen_first, seen_again)),
        *(median(times) for times in keys.values()),
    ]


def make_runs(folder: Path, count: int) -> None:
    run = MadeRun(folder / "made", "run", 2, time_s=time.time() - 9000)
    run.start()
    run.steps(45)
    run.finish()
    for at in range(count):
        shutil.copytree(folder / "made" / "run", folder / "runs" / f"run-{at:05d}")


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


async def start(count: int, keys: dict[str, list[float]], *, all_of_them: bool) -> float:
    """Seconds until runs are in the table; adds to ``keys`` how long each key takes."""
    began = time.process_time()
    app = Dashboard(LiveSource(read_only=True), Settings(bell=False))
    async with app.run_test(size=SIZE) as pilot:
        table = app.screen.query_one(RunTable)
        while table.row_count < (count if all_of_them else 1):
            await asyncio.sleep(0.002)
        seen_s = time.process_time() - began
        for key, times in keys.items():
            if key == "5":
                await pilot.press("slash")
            painted = table._lines
            began = time.process_time()
            await pilot.press(key)
            while table._lines is painted:
                await asyncio.sleep(0.001)
            times.append(time.process_time() - began)
    return seen_s


if __name__ == "__main__":
    main()
