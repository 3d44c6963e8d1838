"""Sleeps in native code end early while ranks meet, and nothing is different afterwards.

Each case is a process of its own: pytest's time limit uses SIGALRM.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import contextlib, ctypes, os, signal
from effnet.distributed.init_wakes import woken
OFTEN = [0.1 * number for number in range(1, 100)]

def sleep(seconds):
    # As MindSpore sleeps: in C, with the interpreter's lock held. -> seconds that are left.
    return ctypes.PyDLL(None).sleep(seconds)

def handler():
    return signal.getsignal(signal.SIGALRM)
"""

SLEEP_ENDS_EARLY = """
with woken("CPU", OFTEN):
    assert sleep(60) > 0
"""

LATE_SIGNALS_DO_NOT_END_THE_PROCESS = """
with woken("CPU", [0.0001 * number for number in range(1, 300)]):
    pass
assert handler() is signal.SIG_DFL
assert sleep(1) == 0
"""

A_DEVICES_RANK_GETS_NO_SIGNALS = """
for target in "Ascend", "GPU":
    with woken(target, OFTEN):
        assert handler() is signal.SIG_DFL
        assert sleep(1) == 0
"""

A_HANDLER_IN_USE_IS_KEPT = """
caught = []
mine = lambda *_: caught.append(1)
signal.signal(signal.SIGALRM, mine)
with woken("CPU", OFTEN):
    os.kill(os.getpid(), signal.SIGALRM)
    assert handler() is mine
assert handler() is mine and caught == [1]
"""

NOTHING_COMES_AFTER_A_FAILED_RENDEZVOUS = """
with contextlib.suppress(RuntimeError), woken("CPU", [0.2]):
    raise RuntimeError("no peers")
assert sleep(1) == 0
"""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(text, id=name.lower())
        for name, text in list(globals().items())
        if name.isupper() and name != "HEAD"
    ],
)
def test_waking(case):
    done = subprocess.run([sys.executable, "-c", HEAD + case], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
