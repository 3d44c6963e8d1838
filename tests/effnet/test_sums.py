"""Sums over logical ranks: the same bits wherever their parts are, and what a lost rank does."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from effnet.distributed import group as groups
from effnet.distributed import links, shared_memory, sums
from effnet.distributed.group import CollectiveSum, Group, PeerGone, broadcast
from effnet.distributed.ordered_sum import OrderedSum
from effnet.distributed.wire import Wire
from tests.effnet.sum_lab import SIZE, Lab, answers, drawn, in_order


@pytest.fixture(autouse=True)
def _scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MS_SCHED_HOST", "127.0.0.1")


def joined(group: Group, size: int = SIZE) -> OrderedSum:
    selected = sums.join(group, size, "auto", "CPU")
    assert isinstance(selected.sum, OrderedSum), selected.notes
    return selected.sum


def reduced(group: Group, added: OrderedSum, step: int, size: int = SIZE) -> bytes:
    for bucket, number in zip(added.buckets, group.logical_ranks, strict=True):
        bucket[:] = drawn(number, step, size)
    return added.reduce().tobytes()


def several_steps(group: Group) -> list[bytes]:
    added = joined(group)
    return [reduced(group, added, step) for step in range(4)]


@pytest.mark.parametrize(
    ("at", "carried"),
    [
        ("aa", [(0,), (1,)]),
        ("aaaaa", [(0,), (1,), (2,), (3,), (4,)]),
        ("a", [(0, 1, 2, 3, 4)]),
        ("aa", [(0, 2, 4), (1, 3)]),
        ("ab", [(0, 2, 4), (1, 3)]),
        ("ab", [(3, 0), (4, 2, 1)]),
        ("abc", [(0, 3), (1, 4), (2,)]),
        ("abcde", [(0,), (1,), (2,), (3,), (4,)]),
        ("aabb", [(0, 4), (1,), (2,), (3,)]),
        ("abba", [(0, 4), (1,), (2,), (3,)]),
        ("aab", [(0, 3), (1, 4), (2,)]),
    ],
)
def test_the_bits_do_not_depend_on_who_carries_the_logical_ranks(
    at: str, carried: list[tuple[int, ...]]
) -> None:
    """Machines are letters, one for each rank."""
    found = answers(several_steps, at, carried)
    for step in range(4):
        expected = in_order(sum(map(len, carried)), step).tobytes()
        assert {answer[step] for answer in found} == {expected}


@pytest.mark.parametrize("at", ["aaaa", "abcd", "aabb"])
def test_fewer_numbers_than_ranks(at: str) -> None:
    def tiny(group: Group) -> list[float]:
        added = joined(group, 3)
        added.buckets[0][:] = [1, 2, group.rank]
        return added.reduce().tolist()

    assert answers(tiny, at) == [[4, 8, 6]] * 4


def test_a_rank_that_is_one_step_ahead_waits_for_a_slow_one() -> None:
    """The last machine has a result before the one that gets it through two others."""

    def with_a_slow_rank(group: Group) -> list[bytes]:
        if group.rank == 2:
            put = Wire.put

            def late(self: Wire, *given: object) -> None:
                time.sleep(0.01)
                put(self, *given)  # type: ignore[arg-type]

            Wire.put = late  # type: ignore[method-assign, assignment]
        return several_steps(group)

    carried = [(0, 3), (1,), (2,)]
    found = answers(with_a_slow_rank, "abc", carried)
    for step in range(4):
        assert {answer[step] for answer in found} == {in_order(4, step).tobytes()}


def test_a_rank_that_takes_longer_than_the_limit_of_a_link_is_waited_for() -> None:
    """It evaluates or is stopped: its system answers, and takes no more bytes."""

    def one_is_slow(group: Group) -> list[bytes]:
        links.SILENT_LIMIT_S = links._PROBES = 2
        added = joined(group)
        if group.rank == 1:
            time.sleep(3 * links.SILENT_LIMIT_S)
        return [reduced(group, added, 0)]

    assert answers(one_is_slow, "ab") == [[in_order(2, 0).tobytes()]] * 2


@pytest.mark.parametrize(
    ("at", "victim", "why"),
    [
        *[("aaa", victim, "another rank of this machine is gone") for victim in range(3)],
        *[("abc", victim, "another rank is gone: rank") for victim in range(3)],
    ],
)
def test_a_dead_rank_releases_the_others(at: str, victim: int, why: str) -> None:
    def one_dies(group: Group) -> str:
        groups.GONE_LIMIT_S = 0.05
        added = joined(group)
        reduced(group, added, 0)
        if group.rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(PeerGone, match=why):
            reduced(group, added, 1)
        return "knows"

    with Lab(one_dies, at) as ranks:
        assert ranks.serve(victim) == ["knows"] * 2


def test_a_rank_that_dies_within_a_sum_releases_the_others() -> None:
    def one_dies(group: Group) -> str:
        groups.GONE_LIMIT_S = 0.05
        added = joined(group)
        if group.rank == 1:
            send, sent = Wire.send, []

            def some(self: Wire) -> None:
                sent.append(send(self))
                if len(sent) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)

            Wire.send = some  # type: ignore[method-assign]
        with pytest.raises(
            PeerGone, match=r"another rank (is gone: rank 1 at|of this machine is gone)"
        ):
            reduced(group, added, 0)
        return "knows"

    with Lab(one_dies, "aba", [(0,), (1,), (2,)]) as ranks:
        # Rank 2 is no neighbour of rank 1; it learns from rank 0, on its machine.
        assert len(ranks.serve(1)) == 2


@pytest.mark.parametrize("broken", [0, 1])
def test_without_memory_to_share_ranks_of_one_machine_use_tcp(broken: int) -> None:
    def refuse(*given: object) -> int:
        raise OSError("no memory")

    def one_cannot(group: Group) -> tuple[list[bytes], tuple[str, ...]]:
        shared_memory.JOIN_LIMIT_S = 0.5
        if group.rank == broken:
            shared_memory.os.memfd_create = refuse
            shared_memory.mmap.mmap = refuse
        selected = sums.join(group, SIZE, "auto", "CPU")
        assert isinstance(selected.sum, OrderedSum)
        return [reduced(group, selected.sum, 0)], selected.notes

    found = answers(one_cannot, "aaa")
    assert [bits for bits, _ in found] == [[in_order(3, 0).tobytes()]] * 3
    assert "through TCP, " in found[0][1][0]
    assert "since ranks of a machine could not share memory" in found[0][1][0]


def test_a_python_without_memfd_uses_a_file_without_a_name() -> None:
    """Builds for old systems have none, as conda's and those of uv."""

    def without(group: Group) -> tuple[list[bytes], tuple[str, ...]]:
        del shared_memory.os.memfd_create
        selected = sums.join(group, 1_000, "auto", "CPU")
        assert isinstance(selected.sum, OrderedSum)
        return [reduced(group, selected.sum, 0, 1_000)], selected.notes

    found = answers(without, "aa")
    assert [bits for bits, _ in found] == [[in_order(2, 0, 1_000).tobytes()]] * 2
    assert "through shared memory" in found[0][1][0]


def test_the_library_adds_where_the_configuration_says_so_and_between_devices() -> None:
    def kinds(group: Group) -> list[object]:
        return [
            type(sums.join(group, 8, *given).sum)
            for given in (("collective", "CPU"), ("auto", "Ascend"), ("auto", "CPU"))
        ]

    assert answers(kinds, "ab") == [[CollectiveSum, CollectiveSum, OrderedSum]] * 2
    assert answers(kinds, "aa") == [[CollectiveSum, OrderedSum, OrderedSum]] * 2


def test_the_library_gets_one_part_from_a_rank_that_carries_two() -> None:
    def library(group: Group) -> list[float]:
        added = sums.join(group, 3, "collective", "CPU").sum
        for bucket, number in zip(added.buckets, group.logical_ranks, strict=True):
            bucket[:] = np.float32(number + 1)
        return added.reduce().tolist()

    assert answers(library, "ab", [(0, 2), (1,)]) == [[6, 6, 6]] * 2


def test_a_resume_says_that_sums_had_another_order() -> None:
    def orders(group: Group) -> list[sums.Order]:
        return [sums.join(group, 8, how, "CPU").order for how in ("auto", "collective")]

    ordered, library = answers(orders, "ab")[0]
    assert ordered.notes("ordered") == library.notes("library") == ()
    assert (
        "were made by MindSpore's collective library (reduction = " in ordered.notes("library")[0]
    )
    assert "now by MindSpore's collective library" in library.notes("ordered")[0]
    # A checkpoint that does not say it: between machines it was the library, in memory it was not.
    assert ordered.notes("") == ordered.notes("library")
    assert library.notes("") == answers(orders, "aa")[0][0].notes("") == ()
    assert sums.Order().notes("library") == ()


def with_negative_zeros(rank: int) -> np.ndarray:
    values = drawn(rank, 0, 2_500)
    values[::7] = -0.0
    return values


def rank_0s_numbers(group: Group) -> bytes:
    values = with_negative_zeros(group.rank)
    return broadcast(group, joined(group, 1_000), values).tobytes()


@pytest.mark.parametrize(("at", "carried"), [("aaa", [(0,), (1,), (2,)]), ("ab", [(0, 2), (1,)])])
def test_every_rank_gets_rank_0s_numbers(at: str, carried: list[tuple[int, ...]]) -> None:
    """More of them than a bucket holds, and buckets that held something else."""
    assert set(answers(rank_0s_numbers, at, carried)) == {with_negative_zeros(0).tobytes()}
