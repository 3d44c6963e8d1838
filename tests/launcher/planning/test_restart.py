"""auto_resume: when it tries again, and when it gives up."""

from __future__ import annotations

import os
import shutil
import signal

from launcher import client
from launcher.store import run_lock


def test_auto_resume_retries_and_gives_up_without_progress(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill"}, auto_resume=5)
    lab.wait_for(root, "attempt_failed", count=3)
    lab.until(lambda: not run_lock.is_supervised(root))
    # The first saved step 10; two more saved nothing beyond it.
    attempts = lab.events(root, "attempt_started")
    assert [a["resume"] and a["resume"]["step"] for a in attempts] == [None, 10, 10]


def test_auto_resume_reaches_the_end(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1}, auto_resume=1)
    lab.wait_for(root, "attempt_finished")
    assert len(lab.events(root, "attempt_started")) == 2


def test_a_run_that_began_with_a_checkpoint_begins_with_it_again(lab):
    other = lab.start(epochs=1)
    lab.wait_for(other, "attempt_finished")
    given = lab.events(other, "checkpoint_saved")[-1]["path"]
    fault = {"rank": 1, "step": 14, "do": "kill", "attempt": 1}
    request = client.StartRequest(resume=given, preflight=False)
    root = lab.runs / client.start(str(lab.profile(fault, auto_resume=1)), request)
    lab.wait_for(root, "attempt_finished")
    first, second = (event["resume"] for event in lab.events(root, "attempt_started"))
    assert first["path"] == second["path"] == given
    assert second["why"].startswith("by itself, 1 of 1: ")


def test_a_check_that_fails_stops_an_automatic_attempt(lab):
    profile = lab.profile(auto_resume=5, epochs=5000, unreachable_s=8)
    root = lab.runs / client.start(str(profile), client.StartRequest())

    def kill_a_rank(attempt: int) -> None:
        lab.until(lambda: sum(e["attempt"] == attempt for e in lab.events(root, "epoch_finished")))
        started = [e for e in lab.events(root, "rank_started") if e["attempt"] == attempt]
        os.kill(started[1]["pid"], signal.SIGKILL)

    kill_a_rank(1)
    lab.wait_for(root, "attempt_started", count=2)
    shutil.rmtree(lab.folder / "data")
    kill_a_rank(2)
    why = lab.wait_for(root, "gave_up")["why"]
    assert why.startswith("the preflight failed: data on "), why
    lab.until(lambda: not run_lock.is_supervised(root))
    assert len(lab.events(root, "attempt_started")) == 2
