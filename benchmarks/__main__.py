"""Runs benchmarks, and records what they print, with machine, versions, date and load.

    python -m benchmarks                  # all parts, hours
    python -m benchmarks scale home       # some
    python -m benchmarks --list

Each part is a script of this folder with its usual arguments. What it printed replaces the block of
that part at the end of docs/benchmarks.md; the tables above are made from these by hand. A part
that fails is reported and changes nothing there.
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

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
HEADING = "## As printed"
PARTS = {
    "launches": "benchmarks/launches.py",
    "supervision": "benchmarks/supervision.py",
    "hangs": "benchmarks/hangs.py",
    "scale": "-m benchmarks.scale",
    "home": "benchmarks/home.py",
    "attach": "benchmarks/attach.py",
    "attach-1024": "benchmarks/attach.py --ranks 1024 --steps 600 --log-mb 1",
    "exports": "benchmarks/exports.py",
    "dashboard": "benchmarks/dashboard.py",
    "train": "benchmarks/train.py",
    "saves": "benchmarks/saves.py",
    "data": "benchmarks/data.py",
    "infer": "benchmarks/infer.py",
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
    given = parser.parse_args(argv)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    failed = []
    for part in given.parts or PARTS:
        print(f"{part}: python {PARTS[part]}", flush=True)
        if given.list:
            continue
        began = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
        done = printed_by([sys.executable, *shlex.split(PARTS[part])])
        if done is None:
            failed.append(part)
        else:
            record(page, part, f"{about(*began)}\n\n```text\n$ python {PARTS[part]}\n{done}```\n")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


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


def about(date: str, load: float) -> str:
    """One line about the machine. `load`: before the part began."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{date}, {cpu_model()}, {cores} cores, load {load:.1f} before and"
        f" {os.getloadavg()[0]:.1f} after; {', '.join(found)}."
    )


def cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


def record(page: Path, part: str, text: str) -> None:
    """Replaces the part's block at the end of the page, or adds it."""
    above, _, blocks = page.read_text().partition(f"\n{HEADING}\n")
    found = dict(re.findall(r"^### `([\w-]+)`\n\n(.*?)(?=^### `|\Z)", blocks, re.M | re.S))
    found[part] = text
    written = "\n".join(f"### `{name}`\n\n{found[name].strip()}\n" for name in sorted(found))
    page.write_text(f"{above.rstrip()}\n\n{HEADING}\n\n{written}")


if __name__ == "__main__":
    sys.exit(main())
