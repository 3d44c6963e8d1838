"""Jobs that run while they are watched: processes that nobody but their launcher knows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from launcher.reading.snapshot import RankStatus, RunSnapshot
from launcher.watching import holders
from launcher.watching.watch import WatchedRun

Watched = Callable[..., WatchedRun]
Start = Callable[[int], "Rank"]

LIMIT_S = 120.0
STEP = "epoch: 1 step: {step}, loss is {loss}\n"
RANK = """\
import sys
for line in sys.stdin:
    print(line, end="", flush=True)
    if line.startswith("RuntimeError"):
        sys.exit(1)
"""


class Rank:
    """A process that prints what it gets, as msrun starts it: its output is a file."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.log = folder / f"worker_{rank}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RANK], stdin=subprocess.PIPE, stdout=file, stderr=file
            )
        self.step = 0

    def prints(self, text: str) -> None:
        size = self.log.stat().st_size
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        while self.log.stat().st_size < size + len(text):
            time.sleep(0.01)

    def steps(self, count: int = 1) -> None:
        for _ in range(count):
            self.step += 1
            self.prints(STEP.format(step=self.step, loss=1 / self.step))

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(LIMIT_S)

    def kill(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as started:

        def begin(rank: int) -> Rank:
            made = Rank(tmp_path, rank)
            started.callback(made.kill)
            return made

        yield begin


def comes(job: WatchedRun, true: Callable[[RunSnapshot], bool]) -> RunSnapshot:
    deadline = time.monotonic() + LIMIT_S
    while not true(snapshot := job.poll()):
        assert time.monotonic() < deadline, snapshot
        time.sleep(0.05)
    return snapshot


def test_a_job_appears_runs_and_ends(tmp_path: Path, start: Start, watched: Watched) -> None:
    ranks = [start(0)]
    job = watched(tmp_path)
    assert job.poll().status == "starting"
    ranks.append(start(1))
    for rank in ranks:
        rank.steps(3)
    snapshot = comes(job, lambda found: found.world_size == 2 and found.steps_done == 3)
    assert snapshot.status == "running"
    pids = comes(job, lambda found: all(rank.pid for rank in found.ranks)).ranks
    assert [rank.pid for rank in pids] == [rank.process.pid for rank in ranks]
    for wanted in (4, 5):
        for rank in ranks:
            rank.steps()
        snapshot = comes(job, lambda found: {one.steps_done for one in found.ranks} == {wanted})  # noqa: B023
    assert all(rank.step_time_ms is not None for rank in snapshot.ranks)
    for rank in ranks:
        rank.end()
    snapshot = comes(job, lambda found: found.status.is_over)
    assert snapshot.status == "finished"
    assert [rank.status for rank in snapshot.ranks] == [RankStatus.ENDED] * 2


def test_a_rank_that_dies_is_named_while_the_others_live(
    tmp_path: Path, start: Start, watched: Watched
) -> None:
    ranks = [start(0), start(1)]
    for rank in ranks:
        rank.steps(3)
    job = watched(tmp_path)
    comes(job, lambda found: all(rank.pid for rank in found.ranks))
    ranks[1].prints("Traceback (most recent call last):\n")
    ranks[1].prints('  File "train.py", line 3, in <module>\nRuntimeError: sample 17 is bad\n')
    snapshot = comes(job, lambda found: found.ranks[1].status is RankStatus.FAILED)
    assert snapshot.ranks[0].status is RankStatus.RUNNING
    ranks[0].prints("[ERROR] Ring ReduceScatter wait receiving [1,22] failed.\n")
    ranks[0].end()
    snapshot = comes(job, lambda found: found.status == "failed")
    assert snapshot.failure is not None
    assert (snapshot.failure.rank, snapshot.failure.followers) == (1, (0,))


def test_a_rank_that_is_killed_without_a_word(
    tmp_path: Path, start: Start, watched: Watched
) -> None:
    ranks = [start(0), start(1)]
    for rank in ranks:
        rank.steps(3)
    job = watched(tmp_path)
    comes(job, lambda found: all(rank.pid for rank in found.ranks))
    ranks[1].kill()
    ranks[0].prints("[ERROR] Ring ReduceScatter wait receiving [1,22] failed.\n")
    ranks[0].kill()
    snapshot = comes(job, lambda found: found.status == "failed")
    assert snapshot.failure is not None
    assert snapshot.failure.rank == 1


def test_a_silent_rank_is_found_and_recovers(
    tmp_path: Path, start: Start, watched: Watched
) -> None:
    ranks = [start(0), start(1)]
    ranks[0].steps(4)
    ranks[1].steps(3)
    job = watched(tmp_path, silent_s=0.5)
    snapshot = comes(job, lambda found: found.status == "hung")
    assert snapshot.hang is not None
    assert snapshot.hang.ranks == (1,)
    assert snapshot.hang.why == "its log does not grow"
    ranks[1].steps(1)
    comes(job, lambda found: found.hang is None or found.hang.ranks != (1,))


@pytest.mark.parametrize("all_wait", [False, True])
def test_a_stopped_process_is_the_silent_one(
    tmp_path: Path, start: Start, watched: Watched, all_wait: bool
) -> None:
    ranks = [start(0), start(1)]
    for rank in ranks:
        rank.steps(3)
    job = watched(tmp_path, silent_s=0.5)
    if all_wait:
        comes(job, lambda found: found.hang is not None and found.hang.ranks == (0, 1))
    ranks[0].process.send_signal(signal.SIGSTOP)
    snapshot = comes(job, lambda found: found.hang is not None and "is stopped" in found.hang.why)
    assert snapshot.hang is not None
    assert snapshot.hang.ranks == (0,)
    assert snapshot.hang.pid == ranks[0].process.pid


def test_a_job_that_begins_again_in_the_same_files(
    tmp_path: Path, start: Start, watched: Watched
) -> None:
    first = start(0)
    first.steps(5)
    job = watched(tmp_path)
    comes(job, lambda found: all(rank.pid for rank in found.ranks))
    first.end()
    comes(job, lambda found: found.status == "finished")
    second = start(0)
    second.steps(2)
    comes(job, lambda found: found.status == "running" and found.steps_done == 2)


def test_only_those_that_write_count(tmp_path: Path, start: Start) -> None:
    rank = start(0)
    path = str(rank.log)
    with rank.log.open("rb"):
        assert holders.writers([path]) == {path: (rank.process.pid,)}
    rank.end()
    assert holders.writers([path]) == {}
    assert holders.sees_writers(path)
    assert not holders.sees_writers(str(tmp_path / "none"))
