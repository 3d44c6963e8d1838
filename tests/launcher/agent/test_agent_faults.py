"""An agent that is killed, or that has no supervisor."""

from __future__ import annotations

import contextlib
import os
import signal

from launcher import client


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


def test_a_killed_agent_ends_its_ranks(lab):
    root = lab.start(
        {"rank": 0, "step": 1, "do": "fork", "ignore_term": True, "session": True},
        {"rank": 1, "step": 1, "do": "ignore_term"},
        epochs=5000,
    )
    lab.wait_for(root, "epoch_finished")
    _, agent = lab.agent_pids()
    os.kill(agent, signal.SIGKILL)
    lab.nothing_left()
    failure = failure_of(lab, root)
    assert failure["kind"] == "node"
    assert "agent" in failure["meaning"]
    assert len(lab.events(root, "rank_exited")) == 2


def test_an_agent_that_gets_sigterm_saves_first(lab):
    """As at a shutdown: SIGTERM to everybody, and then some time."""
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    os.kill(lab.agent_pids()[0], signal.SIGTERM)
    stopped = lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert stopped["kind"] == "attempt_stopped"
    assert lab.events(root, "checkpoint_saved")[-1]["step"] == stopped["step"]


def test_agent_and_guard_killed_together_leave_no_process(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    for pid in lab.agent_pids():
        with contextlib.suppress(ProcessLookupError):  # one may take the other with it
            os.kill(pid, signal.SIGKILL)
    assert failure_of(lab, root)["kind"] == "node"
    lab.nothing_left()


def test_an_agent_without_a_supervisor_saves_and_ends_after_its_limit(lab):
    root = lab.start(step_s=0.05, epochs=5000, orphan_limit_s=1)
    lab.wait_for(root, "training_started")
    lab.kill_supervisor(root)
    lab.until(lambda: b"stop: " in lab.log(root, 0))
    lab.nothing_left()
    assert client.connect(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"
