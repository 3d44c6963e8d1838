"""Sums through shared memory: real processes, with pipes where MindSpore's collectives would be."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from effnet.distributed import shared_memory
from effnet.distributed.group import Group, PeerGone
from effnet.distributed.shared_memory import SharedSum, join

SIZE = 200_003
CONTEXT = multiprocessing.get_context("fork")


class PipeGroup(Group):
    """Adds over pipes, in the test's own process."""

    def __init__(self, rank: int, size: int, pipe: Connection) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "pipe", pipe)

    def sum(self, values: np.ndarray) -> np.ndarray:
        pipe: Connection = self.pipe  # type: ignore[attr-defined]
        pipe.send(values)
        found: np.ndarray = pipe.recv()
        return found


def drawn(rank: int, step: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng([rank, step]).standard_normal(size).astype(np.float32)


def _run(target: Any, rank: int, ranks: int, pipe: Connection) -> None:
    try:
        answer = target(PipeGroup(rank, ranks, pipe))
    except BaseException as error:  # noqa: BLE001 reported to the test
        answer = error
    pipe.send(("over", answer))
    pipe.recv()


class Lab:
    """Ranks as forked processes; `over` are their answers in the order of the ranks."""

    def __init__(self, target: Any, ranks: int) -> None:
        pipes = [CONTEXT.Pipe() for _ in range(ranks)]
        self.pipes = [near for near, _ in pipes]
        self.processes = [
            CONTEXT.Process(target=_run, args=(target, rank, ranks, far), daemon=True)
            for rank, (_, far) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def serve(self, *gone: int) -> list[Any]:
        """Adds for the ranks but `gone` until they are over."""
        living = [rank for rank in range(len(self.pipes)) if rank not in gone]
        while True:
            answers = [self._next(rank) for rank in living]
            if all(isinstance(one, tuple) for one in answers):
                return [answer for _, answer in answers]
            total = np.sum(answers, axis=0, dtype=np.float32)
            for rank in living:
                self.pipes[rank].send(total)

    def _next(self, rank: int) -> Any:
        assert self.pipes[rank].poll(60), f"rank {rank} says nothing"
        return self.pipes[rank].recv()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def lab():
    made: list[Lab] = []

    def make(target: Any, ranks: int) -> Lab:
        made.append(Lab(target, ranks))
        return made[-1]

    yield make
    for one in made:
        one.end()


def several_steps(group: Group) -> list[bytes]:
    shared = join(group, SIZE)
    assert shared is not None
    found = []
    for step in range(4):
        shared.bucket[:] = drawn(group.rank, step)
        found.append(shared.reduce().tobytes())
    return found


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_all_ranks_have_the_sums_in_the_order_of_the_ranks(lab, ranks: int) -> None:
    answers = lab(several_steps, ranks).serve()
    for step in range(4):
        expected = drawn(0, step)
        for rank in range(1, ranks):
            expected = expected + drawn(rank, step)
        assert {answer[step] for answer in answers} == {expected.tobytes()}


def test_fewer_numbers_than_ranks(lab) -> None:
    def tiny(group: Group) -> list[float]:
        shared = join(group, 3)
        assert shared is not None
        shared.bucket[:] = [1, 2, group.rank]
        return shared.reduce().tolist()

    assert lab(tiny, 4).serve() == [[4, 8, 6]] * 4


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_dead_rank_releases_the_others(lab, victim: int) -> None:
    def one_dies(group: Group) -> str:
        shared_memory.GONE_LIMIT_S = 0.05
        shared = join(group, SIZE)
        assert shared is not None
        shared.reduce()
        if group.rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(PeerGone, match="is gone"):
            shared.reduce()
        return "knows"

    ranks = lab(one_dies, 3)
    # `join` sums three times; then the victim is no more.
    for _ in range(3):
        answers = [ranks._next(rank) for rank in range(3)]
        for pipe in ranks.pipes:
            pipe.send(np.sum(answers, axis=0, dtype=np.float32))
    assert ranks.serve(victim) == ["knows"] * 2


def test_nothing_is_shared_between_machines_or_with_one_rank(lab, monkeypatch) -> None:
    def elsewhere(group: Group) -> SharedSum | None:
        shared_memory.os.getuid = lambda: group.rank
        return join(group, SIZE)

    assert lab(elsewhere, 2).serve() == [None, None]
    assert join(Group(), SIZE) is None


@pytest.mark.parametrize("broken", [0, 1])
def test_ranks_agree_when_one_cannot_share(lab, broken: int) -> None:
    def refuse(*given: object) -> int:
        raise OSError("no memory")

    def one_cannot(group: Group) -> SharedSum | None:
        shared_memory.JOIN_LIMIT_S = 0.5
        if group.rank == broken:
            shared_memory.os.memfd_create = refuse
            shared_memory.mmap.mmap = refuse
        return join(group, SIZE)

    assert lab(one_cannot, 3).serve() == [None] * 3
