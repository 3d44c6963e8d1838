"""How this process's threads run while MindSpore brings the ranks together.

MindSpore 2.10 hands a new socket to its event thread and only then notes that it is connecting. An
event thread that is quicker has noted "connected" by then, which is overwritten: the attempt is
given up after 30 ms and made again 0.6 s later, by each rank, twice. On a machine with more
runnable threads than cores the event thread takes the core from the thread that woke it and wins
nearly always. On one core, and under a policy that never takes the core from a running thread, it
comes second every time. Eight ranks on two cores: `init()` in 2 to 5 s instead of 10 to 13 s, no
failed attempt instead of nine (docs/design/collectives.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def orderly_threads(rank: int, target: str) -> Iterator[None]:
    """Run this thread, and those that it starts, one after the other on one of the allowed cores.

    Afterwards all of them run as this thread did before. Does nothing for a device's rank, whose
    library starts threads of its own, and where the system or a policy that was set explicitly does
    not allow it.
    """
    is_free = hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER
    if target != "CPU" or not is_free:
        yield
        return
    before, cpus = _threads(), os.sched_getaffinity(0)
    try:
        _run(0, {sorted(cpus)[rank % len(cpus)]}, os.SCHED_BATCH)
        yield
    finally:
        for thread in {0, *(_threads() - before)}:
            _run(thread, cpus, os.SCHED_OTHER)


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _run(thread: int, cpus: set[int], policy: int) -> None:
    # It may have ended, and a container may forbid it: then it is only slower.
    with suppress(OSError):
        os.sched_setaffinity(thread, cpus)
        os.sched_setscheduler(thread, policy, os.sched_param(0))
