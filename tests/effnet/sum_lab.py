"""Ranks that add numbers: real processes, with pipes where MindSpore's collectives would be."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import numpy as np

from effnet.distributed import places
from effnet.distributed.group import Group

SIZE = 200_003
LIMIT_S = 120
CONTEXT = multiprocessing.get_context("fork")


class PipeGroup(Group):
    """Adds over pipes, in the test's own process."""

    def __init__(self, rank: int, carried: Sequence[Sequence[int]], pipe: Connection) -> None:
        super().__init__(rank, len(carried), tuple(carried[rank]), sum(map(len, carried)))
        object.__setattr__(self, "pipe", pipe)

    def sum(self, values: np.ndarray) -> np.ndarray:
        pipe: Connection = self.pipe  # type: ignore[attr-defined]
        pipe.send(values)
        found: np.ndarray = pipe.recv()
        return found


def drawn(logical_rank: int, step: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng([logical_rank, step]).standard_normal(size).astype(np.float32)


def in_order(logical_size: int, step: int, size: int = SIZE) -> np.ndarray:
    """The sum of what is drawn: ((0 + 1) + 2) + …"""
    total = drawn(0, step, size)
    for number in range(1, logical_size):
        total = total + drawn(number, step, size)
    return total


Target = Callable[[Group], Any]


def _run(target: Target, group: PipeGroup, pipe: Connection, place: str) -> None:
    places._own_place = lambda: place.encode().ljust(8)[:8]
    try:
        answer = target(group)
    except BaseException as error:  # noqa: BLE001 reported to the test
        answer = error
    pipe.send(("over", answer))
    pipe.recv()


class Lab:
    """Ranks as forked processes. `at` names the machine of each rank, one letter for each;
    `carried` are their logical ranks.
    """

    def __init__(
        self, target: Target, at: str, carried: Sequence[Sequence[int]] | None = None
    ) -> None:
        pipes = [CONTEXT.Pipe() for _ in at]
        self.pipes = [near for near, _ in pipes]
        groups = [
            PipeGroup(rank, carried or [(n,) for n in range(len(at))], far)
            for rank, (_, far) in enumerate(pipes)
        ]
        self.processes = [
            CONTEXT.Process(target=_run, args=(target, group, far, place), daemon=True)
            for group, place, (_, far) in zip(groups, at, pipes, strict=True)
        ]

    def __enter__(self) -> Lab:
        for process in self.processes:
            process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def serve(self, gone: int | None = None) -> list[Any]:
        """Adds for the ranks until they are over; -> their answers in the order of the ranks.

        `gone` dies at some time after the last sum, and has no answer.
        """
        living = list(range(len(self.pipes)))
        while True:
            said = {rank: self._next(rank, rank == gone) for rank in living}
            living = [rank for rank in living if said[rank] is not None]
            spoken = [said[rank] for rank in living]
            if all(isinstance(one, tuple) for one in spoken):
                return [answer for _, answer in spoken]
            total = np.sum(spoken, axis=0, dtype=np.float32)
            for rank in living:
                self.pipes[rank].send(total)

    def _next(self, rank: int, may_die: bool) -> Any:
        """What the rank says next; `None` if it died."""
        pipe, process = self.pipes[rank], self.processes[rank]
        assert wait([pipe, process.sentinel], LIMIT_S), f"rank {rank} says nothing"
        try:
            if pipe.poll():
                return pipe.recv()
        except EOFError:
            pass
        assert may_die, f"rank {rank} died"
        return None


def answers(target: Target, at: str, carried: Sequence[Sequence[int]] | None = None) -> list[Any]:
    """What the ranks return, in their order."""
    with Lab(target, at, carried) as lab:
        return lab.serve()
