"""Ranks that hang, and ranks that are only slow."""

from __future__ import annotations

import os
import signal

from launcher import client


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


def test_a_stopped_process_is_silent_and_its_peers_are_not(lab):
    root = lab.start(ranks=3, epochs=5000, silent_min_s=3)
    lab.wait_for(root, "epoch_finished")
    pid = lab.pid_of(root, 1)
    os.kill(pid, signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert silent["rank"] == 1
    os.kill(pid, signal.SIGCONT)
    assert lab.wait_for(root, "rank_recovered")["rank"] == 1
    assert {e["rank"] for e in lab.events(root, "rank_silent")} == {1}
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_process_that_is_stopped_while_it_compiles_is_silent_too(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 3600}, silent_min_s=2)
    beat = root / "attempts/001/ranks/0001/heartbeat"
    lab.until(lambda: beat.exists() and b" compile " in beat.read_bytes())
    os.kill(lab.pid_of(root, 1), signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert (silent["rank"], silent["phase"]) == (1, "compile")
    os.kill(lab.pid_of(root, 1), signal.SIGCONT)
    lab.wait_for(root, "rank_recovered")
    assert {event["rank"] for event in lab.events(root, "rank_silent")} == {1}
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_a_hung_rank_ends_the_attempt_if_the_profile_says_so(lab):
    root = lab.start(
        {"rank": 1, "step": 14, "do": "hang", "attempt": 1}, silent_min_s=3, on_silent="resume"
    )
    failure = failure_of(lab, root)
    assert (failure["kind"], failure["rank"]) == ("hang", 1)
    lab.wait_for(root, "attempt_finished")


def test_a_rank_that_compiles_long_is_not_silent(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 7}, silent_min_s=3)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert lab.events(root, "rank_silent") == []
