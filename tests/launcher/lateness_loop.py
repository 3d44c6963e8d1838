"""Six planted causes of lateness, and whether the right one is named; and runs without any.

    python -m tests.launcher.lateness_loop --cases 20 --healthy 50 --seed 1

Ranks of the stand-in read files, compute and exchange. One of them is given a CPU quota (cgroup),
busy processes on its core, a slow disk (FUSE), a memory limit (cgroup), a slow link (a relay), or a
decoder that sleeps. Ranks are started, read and sampled by the agent's own code, and the
files that come of it are judged as `status` does, until a cause is named. In healthy runs
every cause that is named at any time is wrong. Needs root and cgroups, and for the disk fusepy,
libfuse2 and fusermount: `--causes` says which to run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from launcher.agent import sampler
from launcher.agent.rank_log import RankLog
from launcher.core.diagnosis.lateness import Cause, LateRank, late_ranks
from launcher.core.run.paths import RankPaths
from launcher.planning.port import PortClaim
from launcher.reading.history.lateness import times_of
from tests.launcher.conftest import STANDIN

RANKS = 4
STEP_S = 0.1
LEAST_S, MOST_S = 14.0, 40.0
"""Of training: before that a cause is not expected, and after that it is missed."""

HEALTHY_S = 20.0
START_S = 120.0
NICE = -10
"""So that ranks, which compute 2 ms in 100 ms, train on a machine that others keep busy."""

HOGS = 6
INDEX_BYTES = 48 << 20
MEMORY_BYTES = 16 << 20
CGROUPS = Path("/sys/fs/cgroup")
FUSE = Path(__file__).with_name("slow_disk.py")


def plant(
    cause: Cause | None,
    rank: int,
    folder: Path,
    draw: random.Random,
    ends: ExitStack,
    *,
    is_strong: bool = False,
) -> Any:
    """-> STANDIN_WORK with that trouble; what it starts ends with `ends`.

    `is_strong`: steps that a busy machine makes three times as long do not hide it.
    """

    def seconds(least: float, most: float) -> float:
        return most if is_strong else draw.uniform(least, most)

    index = folder / "index"
    index.write_bytes(draw.randbytes(1 << 20) * (INDEX_BYTES >> 20))
    cores = sorted(os.sched_getaffinity(0))
    work: dict[str, Any] = {
        "data": [str(folder / "images")] * RANKS,
        "index": [str(index)] * RANKS,
        "cores": [cores[number % len(cores)] for number in range(RANKS)],
    }
    images = folder / "images"
    images.mkdir()
    for number in range(20):
        (images / f"{number:02d}").write_bytes(zlib.compress(draw.randbytes(65536)))
    if cause is Cause.INPUT:
        work["sleep"] = {rank: seconds(0.08, 0.3)}
    elif cause is Cause.LINK:
        work["delay"] = {rank: seconds(0.06, 0.2)}
    elif cause is Cause.QUOTA:
        own = ends.enter_context(quota())
        work["cgroups"] = {rank: [str(own)]}
    elif cause is Cause.MEMORY:
        own = ends.enter_context(memory_limit(MEMORY_BYTES))
        work["cgroups"] = {rank: [str(own)]}
        file = folder / "own-index"
        shutil.copy(index, file)
        work["index"][rank] = str(file)
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    elif cause is Cause.DISK:
        work["data"][rank] = str(ends.enter_context(slow_disk(images, seconds(0.08, 0.3))))
    elif cause is Cause.CORE:
        # In one cgroup with the rank, so that they take nothing from other programs here.
        own = ends.enter_context(cgroup("cpu"))
        work["cgroups"] = {rank: [str(own)]}
        ends.enter_context(hogs(work["cores"][rank], own))
    return work


@contextlib.contextmanager
def cgroup(controller: str, **files: int) -> Iterator[Path]:
    """A cgroup of version 1, or of version 2 where the controller is there."""
    top = CGROUPS if (CGROUPS / "cgroup.controllers").is_file() else CGROUPS / controller
    folder = top / f"late-{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        for name, value in files.items():
            if (path := folder / name.replace("__", ".")).exists():
                path.write_text(str(value))
        yield folder
    finally:
        for _ in range(100):  # its process may still be ending
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


@contextlib.contextmanager
def quota() -> Iterator[Path]:
    """1 ms in 100 ms. The shares are those of a process with `NICE`."""
    limits = {"cpu__cfs_quota_us": 1000, "cpu__max": 1000}
    with cgroup("cpu", cpu__shares=10_000, cpu__weight=1000, **limits) as folder:
        yield folder


@contextlib.contextmanager
def memory_limit(size_bytes: int) -> Iterator[Path]:
    limits = {"memory__limit_in_bytes": size_bytes, "memory__max": size_bytes}
    with cgroup("memory", **limits) as folder:
        yield folder


@contextlib.contextmanager
def hogs(core: int, group: Path) -> Iterator[None]:
    code = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    started = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(HOGS)]
    try:
        for process in started:
            (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextlib.contextmanager
def slow_disk(images: Path, delay_s: float) -> Iterator[Path]:
    point = images.with_name("slow")
    point.mkdir()
    argv = [sys.executable, str(FUSE), str(images), str(point), str(delay_s)]
    process = subprocess.Popen(argv)
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(point) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield point
    finally:
        process.kill()
        process.wait()
        subprocess.run(["fusermount", "-uz", str(point)], check=False)


class Node:
    """What an agent does for its ranks: it starts them, reads their logs, samples them."""

    def __init__(self, folder: Path, work: dict[str, Any], ends: ExitStack) -> None:
        claim = PortClaim("127.0.0.1")
        ends.callback(claim.release)
        config = folder / "config.toml"
        config.write_text("epoch_size = 1000\n")
        common = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(STANDIN),
            "MS_SCHED_HOST": "127.0.0.1",
            "MS_SCHED_PORT": str(claim.port),
            "MS_WORKER_NUM": str(RANKS),
            "RANK_SIZE": str(RANKS),
            "STANDIN_STEPS": "1000",
            "STANDIN_STEP_S": str(STEP_S),
            "STANDIN_WORK": json.dumps(work),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        ends.callback(self._end)
        python = (sys.executable, "-S", "-m")
        self._start((*python, "effnet.scheduler"), common, folder / "scheduler.txt")
        self.paths = {rank: RankPaths(folder / f"ranks/{rank:04d}") for rank in range(RANKS)}
        argv = (*python, "effnet", "train", "--config", str(config), "--save_checkpoint_path")
        pids = {}
        for rank, paths in self.paths.items():
            paths.log.parent.mkdir(parents=True)
            own = {**common, "RANK_ID": str(rank), "EFFNET_HEARTBEAT": str(paths.heartbeat)}
            pids[rank] = self._start((*argv, str(folder)), own, paths.log)
        self._logs = {rank: RankLog(1, rank, paths) for rank, paths in self.paths.items()}
        for log in self._logs.values():
            ends.callback(log.close)
        samples = dict.fromkeys(pids, sampler.resident_memory)
        taking = sampler.Sampler(self.paths, lambda: pids, samples, self._logs)
        taking.start()
        ends.callback(taking.close)

    def _start(self, argv: Sequence[str], environment: dict[str, str], log: Path) -> int:
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv, cwd=log.parent, env=environment, stdout=out, stderr=out
            )
        self._processes.append(process)
        return process.pid

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def watch(self, seconds: float) -> None:
        """Reads the logs, as often as an agent does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for log in self._logs.values():
                log.read(time.time())
            time.sleep(0.1)

    def wait_for_training(self) -> None:
        until = time.monotonic() + START_S
        while any(log.last_step is None for log in self._logs.values()):
            ended = [process.args for process in self._processes if process.poll() is not None]
            assert not ended, ended
            assert time.monotonic() < until, "the ranks do not train"
            self.watch(0.2)

    def late_ranks(self) -> tuple[LateRank, ...]:
        return late_ranks([times_of(paths, rank, "node") for rank, paths in self.paths.items()])


def play(cause: Cause | None, seed: int, *, until_right: bool = False) -> tuple[str, str]:
    """One run. -> ("right", "wrong", or "" when nothing was named; the words)

    `until_right`: on a machine that others keep busy more ranks are late, for causes of their own,
    and longer steps hide what costs little. Nor is a rank bound to a core, which may be theirs.
    """
    draw = random.Random(f"{cause} {seed}")
    rank = draw.randrange(RANKS)
    with tempfile.TemporaryDirectory(prefix="late-") as name, ExitStack() as ends:
        work = plant(cause, rank, Path(name), draw, ends, is_strong=until_right)
        if until_right:
            del work["cores"]
        node = Node(Path(name), work, ends)
        node.wait_for_training()
        began = time.monotonic()
        while (lasted := time.monotonic() - began) < (HEALTHY_S if cause is None else MOST_S):
            node.watch(1.0)
            if lasted < LEAST_S and cause is not None and not until_right:
                continue
            if found := node.late_ranks():
                named = [(late.rank, late.cause) for late in found]
                is_right = named == [(rank, cause)] or (until_right and (rank, cause) in named)
                if until_right and not is_right:
                    continue
                return "right" if is_right else "wrong", "; ".join(late.words for late in found)
        return "", ""


def prefer(pid: int) -> None:
    """Gives a process and its session the priority of this one: kernels compare either."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def begin(nice: int) -> None:
    """A process that plays runs."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    prefer(os.getpid())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20, help="runs of each cause")
    parser.add_argument("--healthy", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--nice", type=int, default=NICE, help="of the ranks")
    parser.add_argument("--seed", type=int, default=1)
    names = [cause.name for cause in PLANTED]
    parser.add_argument("--causes", nargs="*", default=names, choices=names)
    arguments = parser.parse_args()
    results: dict[str, Counter[str]] = {}
    tasks: list[Cause | None] = [Cause[name] for name in arguments.causes] * arguments.cases
    tasks += [None] * arguments.healthy
    random.Random(arguments.seed).shuffle(tasks)
    with ProcessPoolExecutor(arguments.jobs, initializer=begin, initargs=(arguments.nice,)) as pool:
        seeds = range(arguments.seed * 1000, arguments.seed * 1000 + len(tasks))
        for cause, (outcome, words) in zip(tasks, pool.map(play, tasks, seeds), strict=True):
            name = "none" if cause is None else cause.value
            results.setdefault(name, Counter())[outcome or "nothing"] += 1
            load = os.getloadavg()[0]
            print(f"{name}: {outcome or 'nothing'}, load {load:.0f}: {words}", flush=True)
    print("\n| planted | runs | right | wrong | nothing named |\n|---|---|---|---|---|")
    for name, counts in sorted(results.items()):
        row = (counts["right"], counts["wrong"], counts["nothing"])
        print(f"| {name} | {counts.total()} | {' | '.join(map(str, row))} |")
    return 0


PLANTED = (Cause.QUOTA, Cause.CORE, Cause.DISK, Cause.LINK, Cause.MEMORY, Cause.INPUT)

if __name__ == "__main__":
    raise SystemExit(main())
