"""Workers: each has hosts of its own, and plays one fault after the other."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.util import Finalize
from pathlib import Path

from tests.cluster.hosts import Cluster
from tests.cluster.lab import ClusterLab
from tests.cluster.loop.kinds import EVERYWHERE, KINDS, WITH_MPIRUN
from tests.cluster.loop.scene import FOUR, Case, Verdict, judge

METHODS = {"cluster": tuple(EVERYWHERE), "mpirun": (*EVERYWHERE, *WITH_MPIRUN)}

_place: Place


class Place:
    """The hosts of one worker, and a folder for its runs."""

    def __init__(self, keep: str, until: float) -> None:
        self.until = until
        # A short path: sockets are in there.
        self.folder = Path(tempfile.mkdtemp(prefix="loop-", dir="/tmp"))
        self.keep = Path(keep) if keep else None
        self.hosts = Cluster(FOUR)
        os.environ |= {
            "HOME": str(self.hosts.home),
            "XDG_RUNTIME_DIR": str(self.folder),
            "EFFNET_PROFILES_DIR": str(self.folder / "profiles"),
            "NO_COLOR": "1",
        }
        os.environ.pop("SSH_AUTH_SOCK", None)

    @contextlib.contextmanager
    def lab(self, number: int) -> Iterator[ClusterLab]:
        """For one run; all of it is ended and removed afterwards."""
        folder = self.folder / f"{number:04d}"
        folder.mkdir()
        self.hosts.repair()
        lab = ClusterLab(self.hosts, folder)
        os.environ["EFFNET_RUNS_DIR"] = str(lab.runs)
        try:
            yield lab
        finally:
            lab.end_all()
            shutil.rmtree(folder, ignore_errors=True)

    def play(self, case: Case) -> Verdict:
        with self.lab(case.number) as lab:
            verdict = judge(lab, case, KINDS[case.kind])
            lab.end_all()
            if verdict.wrong and self.keep is not None:
                kept = self.keep / f"{case.seed}-{case.number:04d}"
                ignored = shutil.ignore_patterns("profiles")
                shutil.copytree(lab.folder, kept, dirs_exist_ok=True, ignore=ignored)
        return verdict

    def close(self) -> None:
        self.hosts.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def draw(seed: int, number: int) -> Case:
    """Each kind comes once before one comes twice."""
    method = tuple(METHODS)[number % 2]
    deck = list(METHODS[method])
    turn, place = divmod(number // 2, len(deck))
    random.Random(f"{seed}/{method}/{turn}").shuffle(deck)
    return Case(seed, number, deck[place], method)


def play_all(
    cases: Sequence[Case], workers: int, keep: str = "", limit_s: float = math.inf
) -> Iterable[Verdict]:
    """In the order in which they end. None begins after `limit_s`."""
    until = time.monotonic() + limit_s
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(cases)), _begin, (keep, until)) as pool:
        yield from filter(None, pool.imap_unordered(_play, cases))
        pool.close()
        pool.join()


def _begin(keep: str, until: float) -> None:
    global _place
    # A worker that is told to end ends its hosts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _place = Place(keep, until)
    Finalize(None, _place.close, exitpriority=10)


def _play(case: Case) -> Verdict | None:
    return _place.play(case) if time.monotonic() < _place.until else None
