"""The order of a process's threads while ranks meet, as the kernel sees it."""

from __future__ import annotations

import os
import threading

import pytest

from effnet.distributed.init_threads import orderly_threads


@pytest.fixture
def waiting():
    """Starts threads that wait until the test is over. -> their ids."""
    over, threads = threading.Event(), []

    def start() -> int:
        thread = threading.Thread(target=over.wait, daemon=True)
        thread.start()
        threads.append(thread)
        return thread.native_id

    yield start
    over.set()
    for thread in threads:
        thread.join()


def seen(thread: int) -> tuple[int, set[int]]:
    return os.sched_getscheduler(thread), os.sched_getaffinity(thread)


@pytest.mark.parametrize("rank", [0, 1, 7])
def test_threads_of_the_rendezvous_share_one_core_and_are_free_afterwards(waiting, rank):
    cpus = os.sched_getaffinity(0)
    older = waiting()
    with orderly_threads(rank, "CPU"):
        during = waiting()
        core = {sorted(cpus)[rank % len(cpus)]}
        assert seen(0) == seen(during) == (os.SCHED_BATCH, core)
        assert seen(older) == (os.SCHED_OTHER, cpus)
    assert seen(0) == seen(during) == seen(older) == (os.SCHED_OTHER, cpus)


@pytest.mark.parametrize("target", ["Ascend", "GPU"])
def test_a_devices_rank_is_not_restricted(waiting, target):
    cpus = os.sched_getaffinity(0)
    with orderly_threads(0, target):
        assert seen(0) == seen(waiting()) == (os.SCHED_OTHER, cpus)


def test_threads_are_free_after_a_failed_rendezvous(waiting):
    cpus, during = os.sched_getaffinity(0), []

    def meet() -> None:
        with orderly_threads(0, "CPU"):
            during.append(waiting())
            raise RuntimeError("no peers")

    with pytest.raises(RuntimeError, match="no peers"):
        meet()
    assert seen(0) == seen(during[0]) == (os.SCHED_OTHER, cpus)


def test_a_scheduling_policy_set_before_is_kept():
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with orderly_threads(1, "CPU"):
            assert seen(0) == (os.SCHED_BATCH, os.sched_getaffinity(0))
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
