"""Recorded folders of launchers, old enough that their jobs are over."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from launcher.watching.watch import WatchedRun, watch

RECORDED = Path(__file__).parent / "recorded"
"""Written by MindSpore 2.10's msrun, OpenMPI 4.1.4's mpirun and PyTorch 2.13's torchrun."""
AGE_S = 3600.0


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[str], Path]:
    def copied(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(RECORDED / name, folder)
        at = time.time() - AGE_S
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (at, at))
        return folder

    return copied


@pytest.fixture
def watched() -> Iterator[Callable[..., WatchedRun]]:
    with ExitStack() as opened:

        def open_(target: object, **options: object) -> WatchedRun:
            job = watch(str(target), **options)  # type: ignore[arg-type]
            opened.enter_context(closing(job))
            job.catch_up()
            return job

        yield open_
