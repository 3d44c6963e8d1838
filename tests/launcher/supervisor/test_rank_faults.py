"""Ranks and the scheduler fail (real processes, real signals): the right cause, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from launcher import client
from launcher.store import run_lock


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_fails_the_run_at_once(lab, rank):
    root = lab.start(ranks=3, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.pid_of(root, rank), signal.SIGKILL)
    # A second is usual: the launcher benchmarks measure it.
    failure = failure_of(lab, root)
    lab.nothing_left()
    assert failure["rank"] == rank
    assert failure["signal"] == signal.SIGKILL
    assert failure["kind"] == "signal"
    assert failure["node"] == "127.0.0.1"
    assert sorted(failure["followers"]) == [r for r in range(3) if r != rank]
    assert failure["last_lines"]
    assert len(lab.events(root, "rank_exited")) == 3
    card = lab.command("status", root.name).stdout
    assert f"rank {rank}" in card
    assert "SIGKILL" in card


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"do": "raise", "text": "no such luck"}, "crash", "no such luck"),
        ({"do": "fault", "kind": "loss"}, "loss", ""),
        ({"do": "segv"}, "crash", "SIGSEGV"),
        ({"do": "exit", "code": 3}, "data", ""),
    ],
)
def test_a_rank_that_exits_with_an_error_is_named_with_its_cause(lab, fault, kind, words):
    root = lab.start({"rank": 1, "step": 5, **fault})
    failure = failure_of(lab, root)
    assert (failure["rank"], failure["kind"]) == (1, kind)
    assert words in failure["meaning"]
    if fault["do"] == "raise":
        assert "RuntimeError: no such luck" in failure["traceback"][-1]
    lab.nothing_left()


def test_a_start_that_fails_early_exits_1_with_the_cause(lab):
    done = lab.command("start", str(lab.profile({"rank": 0, "do": "raise", "text": "bad start"})))
    assert done.returncode == 1
    assert "bad start" in done.stdout
    assert "Traceback (most recent call last)" not in done.stderr


def test_a_dead_scheduler_is_named(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    scheduler = next(p for p in lab.ours() if "effnet.scheduler" in lab.words(p))
    scheduler.kill()
    failure = failure_of(lab, root)
    assert failure["rank"] is None
    assert "scheduler" in failure["meaning"]
    lab.nothing_left()


@pytest.mark.needs_root
def test_a_full_disk_fails_the_run_with_that_cause(lab):
    lab.runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(lab.runs)]
    subprocess.run(mount, check=True)
    try:
        root = lab.start(epochs=30)
        failure = failure_of(lab, root)
        assert failure["kind"] == "data"
        assert "full" in failure["meaning"]
        lab.nothing_left()
        lab.until(lambda: not run_lock.is_supervised(root))
        for path in sorted((root / "checkpoint").glob("step-*"))[:4]:
            path.unlink()
        assert client.resume_choice(root).step >= 20
    finally:
        lab.end_all()
        subprocess.run(["umount", "--lazy", str(lab.runs)], check=True)
