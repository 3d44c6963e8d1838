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
        print(f"{options.ranks} ranks x {options.steps} reports, {size_mb(run):.0f} MB of files")
        whole = ("tensorboard", str(run), "-o", f"{name}/all")
        took_s = measure("tensorboard", *whole)
        print(f"  {'':<28} {size_mb(Path(name, 'all')):.0f} MB of event files")
        measure("tensorboard, nothing new", *whole)
        measure(
            "tensorboard --every 10",
            "tensorboard",
            str(run),
            "-o",
            f"{name}/tenth",
            "--every",
            "10",
        )
        measure("metrics", "metrics", str(run))
    verdict = "met" if took_s <= GOAL_S else "not met"
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"goal {GOAL_S:g} s: {verdict}; {load}")


def measure(name: str, *words: str) -> float:
    """Run `effnet-launch WORDS` and print a row. -> wall time in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    argv = [sys.executable, "-m", "launcher.cli.app", *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ)
    took_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {name:<28} {took_s:6.1f} s, {cpu_s:5.1f} s of CPU", flush=True)
    return took_s


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
