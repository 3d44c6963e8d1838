"""How long the export of a recorded run takes: 8 ranks, 220,000 steps each.

    python benchmarks/exports.py [--ranks 8] [--steps 220000]

Makes the run itself, in a temporary folder; then `effnet-launch tensorboard` writes all of it, adds
nothing in a second call, and writes each tenth report; and `effnet-launch metrics` prints it once.
Needs the extras `tensorboard` and `metrics`. The goal is 20 s for the first.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attach import make_run
from rows import head, row

ROOT = Path(__file__).resolve().parents[1]
GOAL_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=220_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exports-") as name:
        run = Path(name, "recorded")
        make_run(run, options.ranks, options.steps, 1)
        size = f"{options.ranks} ranks with {options.steps:,} reports each, {size_mb(run):.0f} MB"
        print(f"{size}; the goal is {GOAL_S:g} s for everything:\n")
        head("", "time", "CPU", "")
        whole = ("tensorboard", str(run), "-o", f"{name}/all")
        took = measure(*whole)
        event_mb = size_mb(Path(name, "all"))
        row("`tensorboard`, everything", *took, f"{event_mb:.0f} MB of event files")
        row("`tensorboard` again, nothing new", *measure(*whole), "")
        tenth = ("tensorboard", str(run), "-o", f"{name}/tenth", "--every", "10")
        row("`tensorboard --every 10`", *measure(*tenth), "")
        row("`metrics`, once", *measure("metrics", str(run)), "")


def measure(*words: str) -> tuple[str, str]:
    """Run `effnet-launch WORDS`. -> the time that passes, and CPU time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    argv = [sys.executable, "-m", "launcher.cli.app", *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ)
    took_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{took_s:.1f} s", f"{cpu_s:.1f} s"


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
