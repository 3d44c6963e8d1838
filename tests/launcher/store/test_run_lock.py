"""The lock of a run, on a machine that holds its processes up at any moment."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.errors import BusyError
from launcher.store import run_lock


class Clock:
    """Time that passes only where `acquire` waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.then: Callable[[], None] = lambda: None
        monkeypatch.setattr(run_lock, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@contextmanager
def locked(root: Path, kind: int) -> Iterator[int]:
    """By somebody else: the kernel asks which opening of the file it was."""
    fd = os.open(root / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, kind)
        yield fd
    finally:
        os.close(fd)


def test_a_client_that_is_held_up_while_it_checks_keeps_no_supervisor_out(
    tmp_path: Path, clock: Clock
) -> None:
    with locked(tmp_path, fcntl.LOCK_SH) as checker:

        def passes() -> None:
            if clock.now > 5 * run_lock.LOCK_S:
                fcntl.flock(checker, fcntl.LOCK_UN)

        clock.then = passes
        lock = run_lock.acquire(tmp_path)
        assert clock.now > 5 * run_lock.LOCK_S
        assert run_lock.is_supervised(tmp_path)
        os.close(lock)


@pytest.mark.parametrize(
    ("kind", "limit_s", "why"),
    [
        (fcntl.LOCK_EX, run_lock.LOCK_S, "another supervisor owns"),
        (fcntl.LOCK_SH, run_lock.CHECKED_S, "a process that looks at .* holds its lock"),
    ],
)
def test_a_lock_that_does_not_get_free_is_refused(
    tmp_path: Path, clock: Clock, kind: int, limit_s: float, why: str
) -> None:
    with locked(tmp_path, kind), pytest.raises(BusyError, match=why):
        run_lock.acquire(tmp_path)
    assert limit_s < clock.now < limit_s + 1
