"""Faults with real MindSpore between two hosts, one after the other in one run."""

from __future__ import annotations

import os
import signal

import pytest

from launcher import client
from tests import proof
from tests.cluster import real

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def test_a_stopped_rank_a_cut_link_and_a_killed_rank(lab, tmp_path):
    images = real.make_images(tmp_path / "images")
    profile = real.profile(lab, images, ("alpha", "beta"), slots=1, epochs=10_000)
    root = lab.runs / client.start(str(profile), client.StartRequest(preflight=False))
    lab.wait_for(root, "epoch_finished", timeout_s=400)

    os.kill(lab.rank_pid(root, 1), signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent", timeout_s=200)
    proof.blames(silent, rank=1, node="beta")
    taken = lab.wait_for(root, "stacks_taken", timeout_s=200)
    assert "rank 0 waits in the all-reduce" in taken["words"], taken
    os.kill(lab.rank_pid(root, 1), signal.SIGCONT)
    lab.wait_for(root, "rank_recovered", timeout_s=200)
    assert {event["rank"] for event in lab.events(root, "rank_silent")} == {1}

    lab.hosts["beta"].link_down()
    assert lab.wait_for(root, "node_unreachable")["node"] == "beta"
    lab.hosts["beta"].link_up()
    lab.wait_for(root, "node_reached", timeout_s=200)
    done = len(lab.events(root, "epoch_finished"))
    lab.wait_for(root, "epoch_finished", count=done + 2, timeout_s=300)

    os.kill(lab.rank_pid(root, 1), signal.SIGKILL)
    failure = lab.failed(root, rank=1, node="beta", kind="signal", signal=signal.SIGKILL)
    proof.blames(failure, followers=[0])
    # Ended by the launcher, not by itself 31 to 54 s later.
    lab.wait_for(root, "rank_exited", count=2)
    signals = {event["rank"]: event["signal"] for event in lab.events(root, "rank_exited")}
    assert signals[0] in (signal.SIGTERM, signal.SIGKILL), signals
    lab.whole(root)

    lab.resume_to_end(root, timeout_s=400)
    first, second = real.states(root, 2, attempt=2)
    assert first is not None
    assert first == second
