"""Runs benchmarks and writes their tables into docs/benchmarks.md.

    python -m benchmarks                  # all parts, hours
    python -m benchmarks data infer       # some
    python -m benchmarks --torch-python VENV/bin/python against-torch
    python -m benchmarks --list

Each part is a script of this folder with its usual arguments, which prints Markdown. What it
printed, and a line on machine, versions, date and load, replaces the block of that part in the
page; what is written around it stays. A part that fails, or that lacks something, says so and
changes nothing there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import page as pages

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
TORCH = "{torch_python}"
"""In the arguments of a part that needs PyTorch: a Python that has it."""
PARTS = {
    "launch": "benchmarks/launches.py launch",
    "launch-torch": f"benchmarks/launches.py launch --torch-python {TORCH}",
    "kill": "benchmarks/launches.py kill",
    "lines": "benchmarks/launches.py lines",
    "resume": "benchmarks/resumes.py",
    "supervision": "benchmarks/supervision.py",
    "hangs": "benchmarks/hangs.py",
    "scale": "-m benchmarks.scale",
    "commands": "benchmarks/commands.py",
    "exports": "benchmarks/exports.py",
    "train": "benchmarks/train.py --rounds 0",
    "loop": "benchmarks/train.py --ranks ''",
    "against-torch": f"benchmarks/train.py --against torch --torch-python {TORCH}",
    "saves": "benchmarks/saves.py",
    "data": "benchmarks/data.py",
    "infer": "benchmarks/infer.py",
    "dashboard": "benchmarks/dashboard.py",
    "dashboard-many": "benchmarks/dashboard.py --many 64 1024",
    "dashboard-hour": "benchmarks/dashboard.py --hour-only",
    "home": "benchmarks/home.py",
    "attach": "benchmarks/attach.py",
    "attach-1024": "benchmarks/attach.py --ranks 1024 --steps 600 --log-mb 1",
}
"""Name -> arguments of Python. What needs a folder or an accelerator is started by hand."""
PACKAGES = ("mindspore", "numpy", "onnxruntime", "textual", "paramiko")


def main(argv: list[str] | None = None, page: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").splitlines()[0],
        epilog="for example: python -m benchmarks scale home",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        metavar="PYTHON",
        help="of an environment with PyTorch and timm (default: this one)",
    )
    given = parser.parse_args(argv)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    failed = []
    for part in given.parts or PARTS:
        command = PARTS[part].replace(TORCH, shlex.quote(given.torch_python))
        print(f"{part}: python {command}", flush=True)
        if given.list:
            continue
        load, began_s = os.getloadavg()[0], time.monotonic()
        printed = printed_by([sys.executable, *shlex.split(command)])
        if printed is None:
            failed.append(part)
        else:
            about = about_run(load, time.monotonic() - began_s)
            pages.write(page, program(part), f"{printed.strip()}\n\n{about}")
    if failed:
        print(f"failed, not written: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def program(part: str) -> str:
    """As the part's mark in the page names it."""
    return f"python -m benchmarks {part}"


def printed_by(argv: list[str]) -> str | None:
    """Its output, which is also shown as it comes; None when it failed."""
    lines = []
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return None if child.returncode else "".join(lines)


def about_run(load: float, took_s: float) -> str:
    """One line: machine, versions, date and load. `load`: before the part began."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, after {took_s / 60:.1f} min: {cpu_model()}, {cores}"
        f" cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after; {', '.join(found)}."
    )


def cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
