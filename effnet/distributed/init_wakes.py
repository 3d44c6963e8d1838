"""Cuts short a sleep of MindSpore's while it brings the ranks together.

MindSpore 2.10 asks for the address of each peer, and where one has not said it yet sleeps for 3 s
and asks again, up to 19 times. Ranks come to that point within half a second of each other, so
nearly always one of them sleeps, and the others wait for it. A signal whose handler does nothing
ends such a sleep. There are only a few, so that a peer that is late still gets half a minute.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

WAKES_S = (0.6, 0.8, 1.0, 1.1, 1.2, 1.3, 1.45, 1.7, 2.1, 2.8)
"""After the start of `init()`, which holds the interpreter's lock: no thread could send them.

The rank that registers last is ready after 0.5 s, the others after 1 s or a little more."""


class _Event(ctypes.Structure):
    """`struct sigevent`, 64 bytes: the signal for the whole process."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Times(ctypes.Structure):
    """`struct itimerspec`: seconds and nanoseconds of the interval, then of the first time."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "s", "ns"))


@contextmanager
def woken(target: str, wakes_s: Sequence[float] = WAKES_S) -> Iterator[None]:
    """Send this process SIGALRM at these times from now on, and handle it by doing nothing.

    Does nothing for a device's rank, whose libraries may not expect signals, and where SIGALRM is
    in use or the system has no such timers.
    """
    is_free = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    is_main = threading.current_thread() is threading.main_thread()
    if target != "CPU" or not (is_free and is_main):
        yield
        return
    signal.signal(signal.SIGALRM, lambda *_: None)
    # What can be continued is: only sleeping and polling end early.
    signal.siginterrupt(signal.SIGALRM, False)
    libc = ctypes.CDLL(None, use_errno=True)
    timers: list[ctypes.c_void_p] = []
    try:
        for wake_s in wakes_s:
            timers += _timer(libc, wake_s)
        yield
    finally:
        for timer in timers:
            libc.timer_delete(timer)
        # Ignoring it discards one that is still to be delivered.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _timer(libc: ctypes.CDLL, after_s: float) -> list[ctypes.c_void_p]:
    """A timer that goes off once; none where the C library has none."""
    if not hasattr(libc, "timer_create"):
        return []
    timer = ctypes.c_void_p()
    event = _Event(signal=signal.SIGALRM)
    if libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return []
    whole_s = int(after_s)
    times = _Times(s=whole_s, ns=int((after_s - whole_s) * 1e9))
    libc.timer_settime(timer, 0, ctypes.byref(times), None)
    return [timer]
