"""Stopping a run, with and without saving."""

from __future__ import annotations

import time

import pytest

from launcher import client
from launcher.errors import BusyError


def test_stop_saves_and_leaves_no_process_and_resume_continues_there(lab):
    root = lab.start(step_s=0.05, epochs=5000)
    lab.wait_for(root, "checkpoint_saved")
    done = lab.command("stop", root.name, "--json")
    assert done.returncode == 0, done.stderr
    stopped = lab.wait_for(root, "attempt_stopped")
    assert stopped["leftover"] == []
    assert stopped["step"] == lab.events(root, "checkpoint_saved")[-1]["step"]
    assert {e["exit_code"] for e in lab.events(root, "rank_exited")} == {0}
    assert lab.events(root, "stop_requested")[0]["save"] is True
    lab.nothing_left()
    logs = [lab.log(root, rank) for rank in (0, 1)]

    epochs = stopped["step"] // 10 + 2
    request = client.ResumeRequest(preflight=False, settings=(("epoch_size", str(epochs)),))
    choice = client.resume(root, request)
    assert choice.step == stopped["step"]
    assert choice.verified
    assert choice.steps_lost == 0
    lab.wait_for(root, "attempt_finished")
    assert [lab.log(root, rank) for rank in (0, 1)] == logs
    assert lab.check_metrics(root, 1, attempt=2) == list(range(choice.step, 10 * epochs))
    assert lab.events(root, "attempt_started")[1]["resume"]["step"] == choice.step
    with pytest.raises(BusyError):
        client.resume(root, client.ResumeRequest(preflight=False))


def test_stop_without_saving_is_quick(lab):
    root = lab.start(step_s=0.05, epochs=5000, stop_save_s=900)
    lab.wait_for(root, "training_started")
    began = time.monotonic()
    client.stop(root, client.StopRequest(save=False), by="a test")
    stopped = lab.wait_for(root, "attempt_stopped")
    assert time.monotonic() - began < 300  # saving would have been given more
    assert stopped["leftover"] == []
    assert lab.events(root, "stop_requested")[0]["by"] == "a test"


def test_stop_ends_processes_that_ignore_sigterm_and_their_children(lab):
    root = lab.start(
        {"rank": 1, "step": 0, "do": "ignore_term"},
        {"rank": 1, "step": 1, "do": "fork", "ignore_term": True},
        {"rank": 1, "step": 1, "do": "fork", "ignore_term": True, "session": True},
        {"rank": 0, "step": 1, "do": "fork", "session": True, "clean_env": True},
        {"rank": 1, "step": 8, "do": "hang"},
        stop_save_s=0.5,
        term_s=0.5,
    )
    lab.wait_for(root, "training_started")
    lab.until(lambda: b"step:[    7/" in lab.log(root, 1))
    client.stop(root)
    stopped = lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert stopped["kind"] == "attempt_stopped"
    assert stopped["leftover"] == []
    lab.nothing_left()
