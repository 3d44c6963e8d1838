"""The scheduler's process: what it loads of MindSpore, and what it does without that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOADED = """
import sys
from effnet import scheduler
native = scheduler._native_library()
print(native.__name__, "mindspore.nn" in sys.modules, callable(native.init_cluster), flush=True)
__import__("os")._exit(0)
"""
MISSING = """
import importlib, sys
from effnet import scheduler
def refuse(name): raise ImportError(name)
importlib.import_module = refuse
print(scheduler._native_library(), "mindspore" in sys.modules)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.mindspore
def test_the_scheduler_loads_only_the_native_library() -> None:
    assert run(LOADED) == "mindspore._c_expression False True"


def test_without_the_native_library_it_loads_the_whole_package() -> None:
    assert run(MISSING) == "None False"


def test_the_scheduler_is_not_a_rank() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "effnet.scheduler"],
        env={**os.environ, "MS_ROLE": "MS_WORKER"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, "MS_ROLE=MS_SCHED" in done.stderr) == (2, True)
