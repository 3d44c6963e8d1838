"""A supervisor that holds its run and does not answer: stopped, or stuck on a disk that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app
from launcher.cli.output import follow
from launcher.errors import LaunchError
from launcher.process import file_lock
from launcher.runs import base
from launcher.store import run_lock
from tests.freezing import freeze
from tests.launcher.conftest import LIMIT_S


@pytest.fixture
def impatient(monkeypatch):
    """A client that soon gives up a supervisor; the next one has the usual time."""
    usual_s, end_holder = base.ANSWER_LIMIT_S, run_lock.end_holder

    def end(root):
        monkeypatch.setattr(base, "ANSWER_LIMIT_S", usual_s)
        return end_holder(root)

    monkeypatch.setattr(run_lock, "end_holder", end)
    monkeypatch.setattr(base, "ANSWER_LIMIT_S", 4.0)


@pytest.fixture
def frozen(lab, impatient):
    """A run whose supervisor is stopped, and its pid."""
    root = lab.start(step_s=0.05, epochs=5000)
    lab.wait_for(root, "training_started")
    pid = lab.supervisor_pid(root)
    freeze(pid)
    return root, pid


def test_it_is_shown_and_stop_replaces_it_and_saves(lab, frozen):
    root, pid = frozen
    shown = lab.command("status", root.name)
    assert shown.returncode == 0
    assert f"the supervisor (process {pid}) has not answered for" in shown.stdout
    assert f"kill -CONT {pid}" in shown.stdout
    assert f"effnet-launch stop {root.name}" in shown.stdout
    found = json.loads(lab.command("status", root.name, "--json").stdout)
    assert found["supervisor_silent"]["pid"] == pid
    assert found["status"] == "running"
    assert f"{root.name}: the supervisor (process {pid}) does not" in lab.command("runs").stdout
    listed = json.loads(lab.command("runs", "--json").stdout)
    assert listed[0]["supervisor_silent"]["pid"] == pid
    assert client.stop(root) == pid
    lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert [e["replaced"] for e in lab.events(root, "supervisor_started")] == [None, pid]
    assert lab.events(root, "attempt_stopped")[0]["leftover"] == []
    assert lab.events(root, "checkpoint_saved")
    lab.nothing_left()


def test_stop_without_saving_ends_all_and_says_what_it_did(lab, frozen):
    root, pid = frozen
    done = lab.command("stop", root.name, "--no-save")
    assert done.returncode == 0, done.stderr
    assert f"(process {pid}) did not answer: it was ended and replaced" in done.stderr
    assert "attempt_stopped" in [e["kind"] for e in lab.events(root)]
    lab.nothing_left()


@pytest.mark.parametrize("command", ["attach", "wait"])
def test_a_command_that_waits_says_so_and_gives_up(lab, frozen, monkeypatch, command):
    root, pid = frozen
    monkeypatch.setattr(follow, "PATIENCE_S", 6.0)
    if command == "attach":
        result = CliRunner().invoke(app, ["attach", root.name])
        text = result.output
        assert isinstance(result.exception, LaunchError | SystemExit)
        assert f"the supervisor (process {pid}) does not answer" in text
    else:
        with pytest.raises(LaunchError, match="has not answered for") as raised:
            follow.wait_until_over(client.open_run(root))
        assert "effnet-launch stop" in raised.value.hint
    os.kill(pid, signal.SIGCONT)
    reader = client.open_run(root)
    lab.until(lambda: reader.poll().supervisor_silent is None)
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_only_the_process_that_holds_the_lock_is_ended(lab, frozen):
    """Whatever the file says: it may be old, or copied from another run."""
    root, pid = frozen
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        path = root / "supervisor.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pid": other.pid}))
        assert file_lock.holder(root / "supervisor.lock").pid == pid
        assert run_lock.end_holder(root) == pid
        assert other.poll() is None
        other.kill()
    assert run_lock.end_holder(root) == 0
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_a_supervisor_that_froze_at_its_end_does_not_keep_a_resume(lab, impatient, monkeypatch):
    from launcher.runs import local

    monkeypatch.setattr(local, "LEAVE_LIMIT_S", 0.5)
    root = lab.start(step_s=0.05, epochs=5000)
    lab.wait_for(root, "checkpoint_saved")
    client.stop(root)
    lab.wait_for(root, "attempt_stopped")
    lab.until(lambda: not run_lock.is_supervised(root))
    code = (
        "import sys, time; from pathlib import Path; from launcher.store import run_lock;"
        " run_lock.acquire(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", code, str(root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        client.resume(root, client.ResumeRequest(preflight=False))
        assert holder.wait(LIMIT_S) == -signal.SIGKILL
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped", count=2)
