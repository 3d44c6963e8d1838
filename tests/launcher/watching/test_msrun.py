"""A real job of MindSpore's msrun: a plain script with LossMonitor appears live; a rank dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.planning.port import PortClaim
from launcher.watching.watch import WatchedRun

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("plain_script.py")
LIMIT_S = 600


@pytest.fixture
def port() -> Iterator[int]:
    """Of no range from which the system gives ports to others."""
    claim = PortClaim("127.0.0.1")
    yield claim.port
    claim.release()


def test_a_plain_script_under_msrun(
    tmp_path: Path, watched: Callable[..., WatchedRun], port: int
) -> None:
    logs, go = tmp_path / "msrun_log", tmp_path / "go"
    msrun = Path(sys.executable).with_name("msrun")
    options = ("--worker_num=2", "--local_worker_num=2", f"--master_port={port}")
    environment = {**os.environ, "GO": str(go), "OMP_NUM_THREADS": "1", "DIE": "1"}
    environment["PATH"] = f"{msrun.parent}:{environment['PATH']}"
    with (tmp_path / "console").open("wb") as console:
        job = subprocess.Popen(
            [str(msrun), *options, f"--log_dir={logs}", "--join=True", str(SCRIPT)],
            stdout=console,
            stderr=console,
            env=environment,
            cwd=tmp_path,
        )
    try:
        deadline = time.monotonic() + LIMIT_S

        def until(true: Callable[[], bool]) -> None:
            while not true():
                assert time.monotonic() < deadline, (tmp_path / "console").read_text()
                time.sleep(0.2)

        until(lambda: (logs / "worker_1.log").exists())
        run = watched(logs)
        until(lambda: [rank.steps_done for rank in run.poll().ranks] == [7, 7])
        snapshot = run.poll()
        assert snapshot.status == "running"
        assert snapshot.steps_per_epoch == 5
        assert all(rank.pid and rank.loss is not None for rank in snapshot.ranks)
        go.touch()
        until(lambda: run.poll().status.is_over)
        snapshot = run.poll()
        assert snapshot.failure is not None
        assert (snapshot.failure.rank, snapshot.failure.followers) == (1, (0,))
        assert snapshot.cause.endswith("RuntimeError: sample 17 is damaged")
    finally:
        go.touch()
        job.wait(LIMIT_S)
