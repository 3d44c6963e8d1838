"""Which error was the cause: a corpus of last lines, each with the cause that is right.

Cases with a number are public reports (their files are in `inputs/`); the others are more of the
same class.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from launcher.core.diagnosis.evidence import find_evidence
from launcher.core.diagnosis.failure import Death, explain, name_failure

INPUTS = Path(__file__).parent / "inputs"

OWN = """Traceback (most recent call last):
  File "/opt/effnet/train.py", line 80, in train
    raise ValueError("the label 10 is not below class_num 10")
ValueError: the label 10 is not below class_num 10
"""
GENERAL = """Traceback (most recent call last):
  File "/opt/effnet/train.py", line 12, in <module>
    init()
RuntimeError: Ascend kernel runtime initialization failed. See 'Ascend Error Message'.

----------------------------------------------------
- Ascend Error Message:
----------------------------------------------------
"""
EI0006 = "EI0006: [PID: 4711] 2026-01-02-10:03:09.101.001 Getting socket times out.\n"
ATEXIT = """Error in atexit._run_exitfuncs:
Traceback (most recent call last):
  File "/opt/lib/mindspore/common/api.py", line 9, in release
RuntimeError: the device was reset
"""
TRACKER = """Traceback (most recent call last):
  File "/opt/py/lib/python3.10/multiprocessing/resource_tracker.py", line 209, in main
    cache[rtype].remove(name)
KeyError: '/psm_19f0'
"""
IGNORED = """Exception ignored in: <function Pool.__del__ at 0x7f>
Traceback (most recent call last):
  File "/opt/lib/site-packages/pool.py", line 268, in __del__
ResourceWarning: unclosed running pool
"""
THREAD = """Exception in thread Thread-1 (feed):
Traceback (most recent call last):
  File "/opt/py/lib/python3.10/threading.py", line 1016, in _bootstrap_inner
    self.run()
KeyError: 'image'
"""

ASYNCIO = """Task exception was never retrieved
future: <Task finished name='Task-1' coro=<watch() done, defined at /opt/watch.py:3>>
Traceback (most recent call last):
  File "/opt/watch.py", line 9, in watch
ZeroDivisionError: division by zero
"""
SHUTDOWN = """Exception ignored on threading shutdown <module 'threading' from '/opt/threading.py'>:
Traceback (most recent call last):
  File "/opt/x.py", line 9, in end
RuntimeError: the pool is closed
"""
LOGGING = """--- Logging error ---
Traceback (most recent call last):
  File "/opt/py/lib/python3.10/logging/__init__.py", line 1103, in emit
    stream.write(msg + self.terminator)
ValueError: I/O operation on closed file.
Call stack:
"""
HANDLED = "\nDuring handling of the above exception, another exception occurred:\n\n"
LOOKUP = """Traceback (most recent call last):
  File "/opt/lib/mindspore/common/api.py", line 9, in compile
KeyError: 'graph_0'
"""

CORPUS: dict[str, tuple[str, str, str, bool]] = {
    # name: (file or text, kind, words of the meaning or hint, is it a consequence)
    "007-last-traceback-is-noise": ("eofnoise.log", "crash", "ValueError: the label 10", False),
    "noise of atexit": (OWN + ATEXIT, "crash", "ValueError: the label 10", False),
    "noise of the resource tracker": (OWN + TRACKER, "crash", "ValueError: the label 10", False),
    "noise of a destructor": (OWN + IGNORED, "crash", "ValueError: the label 10", False),
    "noise of asyncio": (OWN + ASYNCIO, "crash", "ValueError: the label 10", False),
    "noise of Python 3.13's shutdown": (OWN + SHUTDOWN, "crash", "the label 10", False),
    "noise of logging": (OWN + LOGGING, "crash", "ValueError: the label 10", False),
    "a thread's error where nothing else is": (THREAD + IGNORED, "crash", "KeyError", False),
    "interrupted after its error": (
        OWN + 'Traceback (most recent call last):\n  File "a.py", line 1\nKeyboardInterrupt\n',
        "crash",
        "ValueError: the label 10",
        False,
    ),
    "008-oom-word-in-a-warning": ("oomwarn.log", "crash", "ValueError: the label 10", False),
    "oom in Python's warning": (
        "/opt/x.py:3: UserWarning: out of memory is near\n" + OWN,
        "crash",
        "ValueError",
        False,
    ),
    "oom in a quoted source line": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n'
        '    raise KeyError("Out of memory")\nKeyError: 3\n',
        "crash",
        "KeyError: 3",
        False,
    ),
    "oom in a logging record": (
        "2026-01-02 10:00:00,123 WARNING loader: Cannot allocate memory, trying again\n" + OWN,
        "crash",
        "ValueError",
        False,
    ),
    "oom in an error line": (
        "[ERROR] DEVICE(1,7f,python): [x.cc:1] Out of memory, size 5\n" + GENERAL,
        "oom",
        "out of memory",
        False,
    ),
    "009-own-error-before-hccl-code": ("own-oom-then-ei0006.log", "oom", "out of memory", False),
    "own ValueError, then EI0006": (OWN + EI0006, "crash", "ValueError", False),
    "own port, then EI0006": (
        "[ERROR] HCCL(1,python): listen on port 16666 failed\n" + EI0006,
        "launch",
        "port is taken",
        False,
    ),
    "own code after EI0006": (
        EI0006 + "EL0004: [PID: 1] Failed to allocate memory.\n",
        "oom",
        "EL0004",
        False,
    ),
    "own ValueError, then HCCL's while it is handled": (
        OWN + HANDLED + GENERAL + EI0006,
        "crash",
        "ValueError: the label 10",
        False,
    ),
    "own full disk, then a peer's connection while it is handled": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n'
        "OSError: [Errno 28] No space left on device\n" + HANDLED + GENERAL + EI0006,
        "data",
        "a disk of its node is full",
        False,
    ),
    "a library's lookup, then HCCL's error": (
        LOOKUP + HANDLED + GENERAL + EI0006,
        "node",
        "EI0006",
        True,
    ),
    "EI0006 alone": (EI0006, "node", "EI0006", True),
    "a general error with EI0006": (GENERAL + EI0006, "node", "EI0006", True),
    "a peer's connection": (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n'
        "ConnectionResetError: [Errno 104] Connection reset by peer\n",
        "crash",
        "ConnectionResetError",
        True,
    ),
    "010-ascend-codes-beyond-EI00 ej0003": ("ej0003.log", "launch", "EJ0003", False),
    "010-ascend-codes-beyond-EI00 el0004": ("el0004.log", "oom", "EL0004", False),
    "E39999": (
        GENERAL + "E39999: Inner Error!\nE39999  Aicore kernel execute failed, device_id=3\n",
        "device",
        "(E39999: Aicore kernel execute failed",
        False,
    ),
    "EZ9999": (
        GENERAL + "EZ9999: Inner Error!\nThe error from device(2) is vector core exception.\n",
        "crash",
        "EZ9999: The error from device(2)",
        False,
    ),
    "a user's error before an internal one": (
        GENERAL + "E39999: Inner Error!\n x\nEL0005: [PID: 1] The resources are busy.\n",
        "device",
        "EL0005",
        False,
    ),
    "an unknown module": (GENERAL + "EQ0007: [PID: 9] Odd thing.\n", "crash", "Odd thing", False),
    "an id that looks like a code": ("token E12345 of user\n" + OWN, "crash", "ValueError", False),
    "011-device-held-mindspore-words": ("occupied.log", "device", "another process", False),
    "device held, CUDA": (
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable\n",
        "device",
        "another process",
        False,
    ),
    "device held, driver": (
        GENERAL + "[ERROR] DRV(1,python): Device 3 is occupied by pid 77\n",
        "device",
        "another process",
        False,
    ),
    **{
        f"device held, {name}": (GENERAL + line, "device", "another process", False)
        for name, line in {
            "taken": "RuntimeError: Device 3 has been occupied, please use another one.\n",
            "cuBLAS": "cublasGemmEx failed. Possible reasons: the GPU is occupied by others.\n",
            "by name": "[ERROR] the NPU 3 is being used by another process (pid 77)\n",
        }.items()
    },
    "012-native-library-missing libcudnn": ("libcudnn.log", "device", ": libcudnn.so.8", False),
    "012-native-library-missing glibcxx": (
        "glibcxx.log",
        "device",
        ": libstdc++.so.6: version `GLIBCXX_3.4.29'",
        False,
    ),
    "012-native-library-missing libmpi": ("libmpi.log", "device", ": libmpi.so.40", False),
    **{
        f"native library, {name}": (line, "device", f": {library}", False)
        for name, line, library in (
            ("32 bits", "ImportError: /x/_c.so: wrong ELF class: ELFCLASS32\n", "_c.so"),
            ("no library", "OSError: /x/libgomp.so: invalid ELF header\n", "libgomp.so"),
            (
                "stack",
                "ImportError: libms.so: cannot enable executable stack as shared object\n",
                "libms.so",
            ),
            (
                "of a library",
                "RuntimeError: Dlopen /usr/lib64/libascendcl.so failed, error:"
                " libascend_hal.so: cannot open shared object file\n",
                "libascend_hal.so",
            ),
            ("a kind", "[ERROR] Cuda ['11.1'] (libcudart*.so) is not found\n", "libcudart"),
        )
    },
    "native library, undefined symbol": (
        "ImportError: /a/_c.so: undefined symbol: _ZN3mpi\n",
        "device",
        "doctor",
        False,
    ),
    "native library, CANN": (
        "OSError: libascendcl.so: cannot open shared object file: No such file or directory\n",
        "device",
        "doctor",
        False,
    ),
    "native library, glibc": (
        "ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found (required by x)\n",
        "device",
        "doctor",
        False,
    ),
    "a Python package, not a library": (
        "ModuleNotFoundError: No module named 'mindspore'\n",
        "config",
        "Python package",
        False,
    ),
    "the trainer's own fault line": (
        "fault: kind:[data], text:[bad image]\n" + OWN + EI0006,
        "data",
        "bad image",
        False,
    ),
}


@pytest.mark.parametrize("name", CORPUS)
def test_cause(name: str) -> None:
    source, kind, words, is_consequence = CORPUS[name]
    text = source
    if source.endswith(".log"):
        text = (INPUTS / name.split()[0] / source).read_text()
    cause = explain(Death("n", 0.0, 3, exit_code=1, last_lines=tuple(text.splitlines())))
    assert (cause.kind.value, cause.is_follower) == (kind, is_consequence), cause
    assert words in f"{cause.meaning} {cause.try_next}"
    if "native library" in cause.meaning:
        assert "effnet-launch doctor" in cause.try_next
    if "pip" in cause.try_next:
        pytest.fail("a hint must not point to pip")


def test_009_the_first_failure_is_named_not_its_followers() -> None:
    log = INPUTS / "009-own-error-before-hccl-code/own-oom-then-ei0006.log"
    own = tuple(log.read_text().splitlines())
    deaths = [
        Death("a", 10.0, 0, exit_code=1, last_lines=(EI0006,)),
        Death("b", 11.0, 4, exit_code=1, last_lines=own),
    ]
    failure = name_failure(deaths)
    assert (failure.rank, failure.followers) == (4, (0,))


def test_007_the_traceback_is_that_of_the_rank() -> None:
    lines = (INPUTS / "007-last-traceback-is-noise/eofnoise.log").read_text().splitlines()
    found = find_evidence(lines)
    assert found.traceback[-1] == "ValueError: the label 10 is not below class_num 10"
    assert not any("EOFError" in line for line in found.traceback)


@pytest.mark.parametrize("code", [193, 200, 254, 255])
def test_an_exit_code_above_all_signals_is_not_a_signal(code: int) -> None:
    assert f"exit code {code}" in explain(Death("n", 0, None, "mpirun", exit_code=code)).meaning


def test_a_kill_names_its_node() -> None:
    cause = explain(Death("node-b", 0, 5, signal=signal.SIGKILL, last_lines=(EI0006,)))
    assert cause.meaning == "rank 5: killed (SIGKILL): probably the OOM killer"
    assert cause.try_next == "check `dmesg` on node-b"
    assert not cause.is_follower
