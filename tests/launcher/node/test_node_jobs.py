"""Jobs on a node, started by the follower on another machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.ipc import operations as op
from launcher.jobs import runner
from launcher.node import jobs
from launcher.store import job as job_files
from launcher.store.job import Job


def test_a_job_waits_for_its_own_runner_and_not_for_its_follower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that arrives has the pid of the follower, on another machine."""
    pids = []

    def start(file: Path, *_: object) -> None:
        job = job_files.read(file)
        assert job is not None
        pids.append((job.pid, job.start_ticks))

    monkeypatch.setattr(runner, "start", start)
    job = Job("001-eval", "eval", "n", ("true",), {}, 0.0, pid=os.getpid(), start_ticks=5)
    folder = tmp_path / "jobs/001-eval"
    jobs.start(op.StartJob(str(folder), job, "token"))
    assert pids == [(0, 0)]
