"""Which processes are ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from launcher.process import ownership, spawn
from tests.launcher.sleeper import sleeper


def test_a_reused_pid_is_never_signalled():
    with subprocess.Popen(["sleep", "60"]) as child:
        process = ownership.read_process(child.pid)
        other = ownership.Process(child.pid, process.start_time - 1, 0, 0, "S")
        assert not ownership.send_signal(other, signal.SIGKILL)
        assert child.poll() is None
        assert ownership.send_signal(process, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def test_a_token_is_matched_whole_or_by_its_run():
    # Without a watcher a test beside this one, of `clean`, would end it.
    with sleeper(EFFNET_WATCHES="run-1/002"), sleeper(EFFNET_TOKEN="run-1/002") as child:
        for token, is_ours in [
            ("run-1/002", True),
            ("run-1/", True),
            ("run-1/00", False),
            ("run-", False),
            ("", False),
        ]:
            found = {process.pid for process in ownership.owned(ownership.Claim(token))}
            assert (child.pid in found) is is_ours, token


def test_children_do_not_inherit_the_watched_token(monkeypatch):
    monkeypatch.setenv("EFFNET_WATCHES", "run-1/002")
    monkeypatch.setenv("EFFNET_TOKEN", "run-0/001")
    assert not {"EFFNET_WATCHES", "EFFNET_TOKEN"} & spawn.base_environment().keys()


def test_a_watching_process_has_the_token_in_its_environment(tmp_path):
    pid = spawn.detached(["/bin/sleep", "60"], tmp_path / "log", watches="run-1/002")
    try:
        deadline = time.monotonic() + 30
        # In the middle of an exec a process has no environment yet.
        while (found := ownership.variable_of(pid, "EFFNET_WATCHES")) is None:
            assert time.monotonic() < deadline
        assert found == "run-1/002"
        assert ownership.variable_of(pid, "EFFNET_TOKEN") is None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_session_is_ours_from_the_start_of_its_leader_and_spared_processes_never():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        process = ownership.read_process(child.pid)
        try:
            ours = ownership.Claim("none", sessions=((child.pid, process.start_time),))
            assert [found.pid for found in ownership.owned(ours)] == [child.pid]
            spared = ownership.Claim("none", ours.sessions, spare=frozenset({child.pid}))
            assert ownership.owned(spared) == []
            # The leader that we started has ended, and its pid was given to another one, earlier
            # processes of which are not ours.
            reused = ownership.Claim("none", sessions=((child.pid, process.start_time + 1),))
            assert ownership.owned(reused) == []
        finally:
            child.kill()
