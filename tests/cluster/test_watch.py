"""A job of another launcher on another host, watched over SSH."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from launcher.errors import NodeError, UsageError
from launcher.watching.watch import watch
from tests.cluster.conftest import both_transports

RECORDED = Path(__file__).parents[1] / "launcher/watching/recorded/msrun_death"
LIMIT_S = 120
WRITER = 'exec >/tmp/job/worker_{rank}.log; echo "epoch: 1 step: 1, loss is 0.5"; exec sleep 300'


def comes(job, true):
    deadline = time.monotonic() + LIMIT_S
    while not true(snapshot := job.poll()):
        assert time.monotonic() < deadline, snapshot
        time.sleep(0.1)
    return snapshot


@pytest.fixture
def alpha(hosts):
    host = hosts["alpha"]
    host.run("sh", "-c", "rm -rf /tmp/job; mkdir /tmp/job")
    return host


def target(host, folder="/tmp/job"):
    return f"root@{host.address}:{folder}"


def test_a_job_that_failed_on_a_host(alpha):
    for log in RECORDED.iterdir():
        alpha.run("sh", "-c", f"printf %s {shlex.quote(log.read_text())} >/tmp/job/{log.name}")
    alpha.run("sh", "-c", "touch -d '1 hour ago' /tmp/job/*")
    before = alpha.run("sh", "-c", "ls -la --time-style=+%s /tmp /tmp/job")
    with closing(watch(target(alpha), python=sys.executable)) as job:
        snapshot = comes(job, lambda found: found.status.is_over)
        assert snapshot.failure is not None
        assert snapshot.failure.rank == 1
        assert snapshot.failure.node == alpha.address
        assert "sample 17 is damaged" in snapshot.cause
        assert job.log(1).tail(5).lines
    assert alpha.run("sh", "-c", "ls -la --time-style=+%s /tmp /tmp/job") == before


@both_transports
def test_a_job_that_runs_there_and_a_rank_that_ends(lab, alpha, transport):
    for rank in range(2):
        writer = shlex.quote(WRITER.format(rank=rank))
        alpha.run("sh", "-c", f"setsid sh -c {writer} </dev/null >/dev/null 2>&1 &")
        lab.until((alpha.root / f"tmp/job/worker_{rank}.log").exists)
    found = watch(target(alpha), python=sys.executable, transport=transport)
    with closing(found) as job:
        snapshot = comes(
            job,
            lambda found: found.status == "running" and all(rank.pid for rank in found.ranks),
        )
        assert len(snapshot.ranks) == 2
        alpha.run(
            "sh",
            "-c",
            f"echo 'MemoryError: none' >>/tmp/job/worker_1.log; kill -9 {snapshot.ranks[1].pid}",
        )
        comes(job, lambda found: found.ranks[1].status == "failed")
        alpha.run("kill", "-9", str(snapshot.ranks[0].pid))
        snapshot = comes(job, lambda found: found.status == "failed")
        assert snapshot.failure is not None
        assert snapshot.failure.rank == 1


def test_what_is_not_there_is_named(alpha):
    with pytest.raises(UsageError, match="no logs of ranks in /tmp/job"):
        watch(target(alpha), python=sys.executable)
    with pytest.raises(NodeError, match="there is no /no/python"):
        watch(target(alpha), python="/no/python")
