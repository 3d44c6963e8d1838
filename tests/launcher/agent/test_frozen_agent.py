"""An agent that is there and does not answer: stopped, or stuck on a disk that hangs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.freezing import freeze


@pytest.fixture
def frozen(lab):
    """A run of two ranks whose agent is stopped, and the pids of its guard and agent."""

    def start(**changes):
        root = lab.start(step_s=0.05, epochs=5000, **changes)
        lab.wait_for(root, "training_started")
        guard, agent = lab.agent_pids()
        freeze(agent)
        return root, guard, agent

    return start


def test_the_attempt_fails_after_unreachable_s_and_nothing_is_left(lab, frozen):
    root, *_ = frozen(unreachable_s=3)
    away = lab.wait_for(root, "node_unreachable")
    assert "does not answer" in away["why"]
    failure = lab.wait_for(root, "attempt_failed", "attempt_finished")["failure"]
    assert failure["kind"] == "node"
    assert "answer" in failure["meaning"]
    lab.nothing_left()
    assert lab.command("resume", root.name, "--no-preflight").returncode == 0
    assert lab.command("stop", root.name).returncode == 0


def test_a_connection_that_opens_is_no_sign_of_life(lab, frozen):
    """The socket of a stopped process accepts connections: it was "reached" every few seconds."""
    root, _, agent = frozen(unreachable_s=600)
    lab.wait_for(root, "node_unreachable")
    assert "node 127.0.0.1 has not answered for" in lab.command("status", root.name).stdout
    # Connections are given up after 5 s without an answer: the second one lives now.
    stopped = time.monotonic()
    lab.until(lambda: time.monotonic() - stopped > 3)
    assert not lab.events(root, "node_reached")
    os.kill(agent, signal.SIGCONT)
    lab.wait_for(root, "node_reached")
    assert len(lab.events(root, "node_unreachable")) == 1
    assert lab.command("stop", root.name).returncode == 0
    assert lab.events(root, "attempt_stopped")


@pytest.mark.parametrize("is_guard_stopped", [False, True])
def test_stop_without_saving_ends_the_ranks_of_a_frozen_agent(lab, frozen, is_guard_stopped):
    root, guard, _ = frozen(unreachable_s=600)
    if is_guard_stopped:
        freeze(guard)
    assert lab.command("stop", root.name, "--no-save").returncode == 0
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"
    lab.nothing_left()


def test_stop_with_saving_ends_them_after_its_limit_and_says_that_nothing_was_saved(lab, frozen):
    root, *_ = frozen(unreachable_s=600, stop_save_s=12)
    stop = lab.command("stop", root.name)
    assert stop.returncode == 1
    assert "no answer from 127.0.0.1" in stop.stdout + stop.stderr
    failure = lab.wait_for(root, "attempt_failed", "attempt_stopped")["failure"]
    assert "did not answer and was ended" in failure["meaning"]
    lab.nothing_left()


def test_a_rank_that_dies_ends_a_frozen_agents_ranks_too(lab, frozen):
    """Its agent can't report the death: the ranks are silent, and the agent is."""
    root, *_ = frozen(unreachable_s=3)
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    assert lab.wait_for(root, "attempt_failed", "attempt_finished")["failure"]["kind"] == "node"
    lab.nothing_left()
