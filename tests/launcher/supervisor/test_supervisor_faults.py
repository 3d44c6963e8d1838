"""A supervisor that is killed, replaced, or started twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from launcher import client
from launcher.errors import BusyError, LaunchError
from launcher.runs.handle import open_run
from launcher.store import run_lock


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


def stopped(lab, root):
    """Rank 1, once it has stopped itself: the run lasts until the test lets it go on."""
    rank = psutil.Process(lab.pid_of(root, 1))
    lab.until(lambda: rank.status() == psutil.STATUS_STOPPED)
    return rank


def test_a_killed_supervisor_is_replaced_without_lost_or_duplicate_lines(lab):
    root = lab.start({"rank": 1, "step": 15, "do": "stop"}, epochs=6)
    lab.wait_for(root, "epoch_finished")
    waiting = stopped(lab, root)
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    before = len(lab.events(root))
    waiting.resume()
    lab.until(lambda: lab.log(root, 0).count(b"epoch ") >= 3)
    assert len(lab.events(root)) == before
    assert client.connect(root)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in lab.events(root, "checkpoint_saved")] == [10, 20, 30, 40, 50, 60]
    assert [e["n"] for e in lab.events(root)] == list(range(1, len(lab.events(root)) + 1))
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == list(range(60))
    replaced = lab.events(root, "supervisor_started")
    assert [e["replaced"] for e in replaced] == [None, replaced[0]["pid"]]


def test_a_run_that_ended_without_a_supervisor_is_recorded(lab):
    root = lab.start({"rank": 1, "step": 15, "do": "stop"})
    lab.wait_for(root, "training_started")
    waiting = stopped(lab, root)
    lab.kill_supervisor(root)
    waiting.resume()
    lab.until(lambda: b"done: " in lab.log(root, 1))
    assert client.connect(root)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == [1, 2, 3]
    assert len(lab.events(root, "rank_exited")) == 2


def test_a_rank_that_dies_without_a_supervisor_is_recorded(lab):
    root = lab.start(step_s=0.03, epochs=5000)
    lab.wait_for(root, "training_started")
    lab.kill_supervisor(root)
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    # The agent acts by itself.
    lab.until(lambda: not psutil.pid_exists(lab.pid_of(root, 0)))
    assert lab.command("attach", root.name).returncode == 1
    assert failure_of(lab, root)["rank"] == 1


def test_a_supervisor_that_dies_is_replaced_though_nobody_looks(lab):
    root = lab.start(step_s=0.05, epochs=5000, supervisor_restart_s=0.2)
    for count in (1, 2):
        lab.wait_for(root, "epoch_finished", count=len(lab.events(root, "epoch_finished")) + 1)
        os.kill(lab.supervisor_pid(root), signal.SIGKILL)
        lab.wait_for(root, "supervisor_started", count=count + 1)
    client.stop(root)
    stopped = lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert stopped["kind"] == "attempt_stopped"
    started = lab.events(root, "supervisor_started")
    assert [e["replaced"] for e in started] == [None, started[0]["pid"], started[1]["pid"]]
    steps = list(range(stopped["step"]))
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == steps
    lab.nothing_left()


def test_an_attempt_that_fails_after_its_supervisor_died_is_resumed(lab):
    """At night: nobody attaches, and the profile allows another attempt."""
    waits = {"rank": 1, "step": 15, "attempt": 1, "do": "stop"}
    root = lab.start(
        waits, {**waits, "do": "kill"}, epochs=3, auto_resume=1, supervisor_restart_s=0.2
    )
    lab.wait_for(root, "epoch_finished")
    waiting = stopped(lab, root)
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    waiting.resume()
    assert lab.wait_for(root, "attempt_finished")["attempt"] == 2
    assert lab.events(root, "attempt_failed")[0]["failure"]["rank"] == 1
    lab.nothing_left()


def test_the_first_of_several_that_would_replace_a_supervisor_is_the_only_one(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    parent = psutil.Process(psutil.Process(lab.supervisor_pid(root)).ppid())
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: not run_lock.is_supervised(root))
    assert client.connect(root)
    lab.until(lambda: not parent.is_running())
    assert len(lab.events(root, "supervisor_started")) == 2
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
    lab.nothing_left()


def test_a_supervisor_that_was_never_ready_is_not_replaced(lab):
    """The client that started it was told so, and has printed the error."""
    root = lab.start(epochs=2, supervisor_restart_s=0.2)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    events = lab.events(root)
    (root / "profile.json").write_text("{")
    with pytest.raises(LaunchError, match=r"profile\.json"):
        open_run(root).spawn(resume="auto")
    lab.nothing_left()
    assert lab.events(root) == events


def test_everything_killed_at_once(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "checkpoint_saved")
    lab.end_all()
    lab.nothing_left()
    assert client.open_run(root).poll(time.time() + 60).status.value == "lost"
    assert client.connect(root)
    assert failure_of(lab, root)["kind"] == "node"
    lab.until(lambda: not run_lock.is_supervised(root))
    assert client.resume(root, client.ResumeRequest(preflight=False)).step >= 10
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_the_runtime_folder_is_deleted(lab, monkeypatch):
    """As at a logout: clients, and a supervisor that replaces another, still find everybody."""
    root = lab.start(epochs=5000, step_s=0.05)
    lab.wait_for(root, "training_started")
    # At once: whoever finds its socket gone opens another one while the rest is being deleted.
    folder = Path(os.environ["XDG_RUNTIME_DIR"])
    shutil.rmtree(folder.rename(f"{folder}-gone"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    assert client.connect(root)
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_second_supervisor_is_refused(lab):
    root = lab.start(epochs=5000)
    with pytest.raises(BusyError):
        open_run(root).spawn()
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
