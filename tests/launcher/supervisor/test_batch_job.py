"""Slurm's signals to the supervisor that is a job's batch step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.supervisor.slurm.batch_job import SIGNALS, BatchJob

SCONTROL = """#!/bin/sh
case "$*" in
*hostnames*) echo n1 ;;
*node*) echo "NodeName=n1 NodeAddr=127.0.0.1" ;;
*)
    kill -TERM {pid}
    echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2
    exit 1
    ;;
esac
"""


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchJob]:
    """Its slurmctld does not answer, and this process gets SIGTERM meanwhile."""
    program = tmp_path / "scontrol"
    program.write_text(SCONTROL.format(pid=os.getpid()))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    job = BatchJob({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"})
    job.listen()
    yield job
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_comes_while_slurm_is_asked_is_the_cause(batch: BatchJob) -> None:
    """The ranks had it first, and have stopped: nothing would ask again."""
    ending = batch.new_ending(is_failing=True)
    assert ending is not None
    assert ending.by == "Slurm (job 7 was cancelled: scancel)"
    assert batch.new_ending(is_failing=True) is None
