"""Runs a command on a machine that holds its processes up at any moment, as a busy one does.

    python -m tests.stalls --seed 1 -- python -m pytest tests/launcher/supervisor

Every process that the command starts is in a cgroup. Some of them, chosen at random, are moved to
a frozen one for a while and back: 70 % of the stalls last up to 0.15 s, 25 % up to 0.5 s, and the
others up to --longest. A process does not notice (there is no SIGSTOP); its peers see that it is
slow. Who was held up is written to --log: time, pid, seconds and command line. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TURN_S = 0.02
LOOK_S = 0.2
AT_ONCE = 6


@dataclass
class Freezer:
    """A frozen cgroup for one process at a time."""

    folder: Path
    until_s: float = 0.0
    """Monotonic; 0 while it is empty."""

    def take(self, pid: int, until_s: float) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))
        self.until_s = until_s

    def give_back(self, to: Path) -> None:
        self.until_s = 0.0
        for pid in _pids(self.folder):
            with contextlib.suppress(OSError):  # it has ended
                (to / "cgroup.procs").write_text(pid)


@dataclass
class Stalls:
    """``rate``: stalls in a second, of each ten processes."""

    chance: random.Random
    rate: float
    longest_s: float
    log: IO[str]

    def run(self, command: list[str]) -> int:
        with _cgroups() as (running, freezers):
            entry = str(running / "cgroup.procs")
            # A shell enters first: between a fork and its exec Python may run nothing safely.
            enter = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', entry, *command]
            process = subprocess.Popen(enter)
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            try:
                self._stall(process, running, freezers)
            finally:
                for freezer in freezers:
                    freezer.give_back(running)
            return process.wait()

    def _stall(self, process: subprocess.Popen[bytes], running: Path, all_: list[Freezer]) -> None:
        looked_s = turned_s = time.monotonic()
        pids: list[str] = []
        while process.poll() is None:
            time.sleep(TURN_S)
            now = time.monotonic()
            for freezer in all_:
                if freezer.until_s and now >= freezer.until_s:
                    freezer.give_back(running)
            if now - looked_s > LOOK_S or not pids:
                pids, looked_s = _pids(running), now
            wanted = self.rate * (now - turned_s) * len(pids) / 10
            turned_s = now
            for freezer in all_:
                if not freezer.until_s and self.chance.random() < wanted:
                    wanted -= 1
                    self._hold_up(int(self.chance.choice(pids)), freezer, now)

    def _hold_up(self, pid: int, freezer: Freezer, now: float) -> None:
        kind = self.chance.random()
        least_s, most_s = (
            (0.02, 0.15) if kind < 0.7 else (0.15, 0.5) if kind < 0.95 else (0.5, self.longest_s)
        )
        seconds = self.chance.uniform(least_s, most_s)
        with contextlib.suppress(OSError):  # it has ended
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            freezer.take(pid, now + seconds)
            line = words.decode(errors="replace")[:150]
            print(f"{time.time():.3f} {pid} {seconds:.2f} {line}", file=self.log, flush=True)


@contextlib.contextmanager
def _cgroups() -> Iterator[tuple[Path, list[Freezer]]]:
    """The one for processes that run, and frozen ones."""
    parent, state, frozen = _parent()
    top = parent / f"stalls-{os.getpid()}"
    running = top / "run"
    freezers = [Freezer(top / f"frozen-{number}") for number in range(AT_ONCE)]
    try:
        running.mkdir(parents=True)
        for freezer in freezers:
            freezer.folder.mkdir()
            (freezer.folder / state).write_text(frozen)
        yield running, freezers
    finally:
        # Daemons that outlive the command go on outside.
        for pid in _pids(running):
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        for folder in (running, *(freezer.folder for freezer in freezers), top):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _parent() -> tuple[Path, str, str]:
    """Where cgroups are made, and what freezes one: version 2, or the freezer of version 1."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, place, kind, options, *_ in mounts:
        if kind == "cgroup" and "freezer" in options.split(","):
            return Path(place), "freezer.state", "FROZEN"
    for _, place, kind, *_ in mounts:
        if kind == "cgroup2":
            return Path(place), "cgroup.freeze", "1"
    sys.exit("tests.stalls: no cgroups are mounted here")


def _pids(folder: Path) -> list[str]:
    return (folder / "cgroup.procs").read_text().split()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stalls", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3.0, help="per second and ten processes")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds")
    parser.add_argument("--log", type=argparse.FileType("w"), default=os.devnull)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("it needs root: cgroups are its")
    chance = random.Random(options.seed)
    return Stalls(chance, options.rate, options.longest, options.log).run(options.command)


if __name__ == "__main__":
    raise SystemExit(main())
