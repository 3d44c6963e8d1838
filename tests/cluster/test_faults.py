"""What goes wrong on real hosts: the right cause, nothing left, no line lost or doubled."""

from __future__ import annotations

import os
import signal
import time

from launcher import client
from launcher.shell import actions


def failure_of(lab, root, timeout_s=30):
    event = lab.end_of(root, timeout_s)
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


def test_a_killed_rank_ends_all_nodes(lab):
    root = lab.start(epochs=500)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.rank_pid(root, 3), signal.SIGKILL)
    killed = time.time()
    failure = failure_of(lab, root)
    assert lab.events(root, "attempt_failed")[0]["t"] - killed < 2
    lab.nothing_left(max(0.1, killed + 5 - time.time()))
    assert (failure["rank"], failure["node"]) == (3, "beta")
    assert (failure["kind"], failure["signal"]) == ("signal", signal.SIGKILL)
    assert sorted(failure["followers"]) == [0, 1, 2]
    assert failure["log"] == str(root / "attempts/001/ranks/0003/log.txt")
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)


def test_a_killed_agent_takes_its_ranks_and_the_run_with_it(lab):
    root = lab.start(
        {"rank": 2, "step": 1, "do": "fork", "ignore_term": True, "session": True}, epochs=500
    )
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.agent_pid("beta"), signal.SIGKILL)
    failure = failure_of(lab, root)
    assert (failure["kind"], failure["node"]) == ("node", "beta")
    assert "agent" in failure["meaning"]
    lab.nothing_left(10)
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)


def test_a_killed_supervisor_is_replaced_and_catches_up(lab):
    root = lab.start(epochs=8, step_s=0.08)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: not actions.is_supervised(root))
    time.sleep(2)
    done = lab.command("status", root.name)
    assert "replaced" in done.stderr
    assert lab.end_of(root)["kind"] == "attempt_finished"
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == list(range(1, 9))
    assert [e["step"] for e in lab.events(root, "checkpoint_saved")] == list(range(10, 81, 10))
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)
    assert all(lab.steps(root, rank) == list(range(80)) for rank in range(4))


def test_an_sshd_that_is_killed_and_comes_back_costs_nothing(lab):
    root = lab.start(epochs=10, step_s=0.08)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].kill_sshd()
    away = lab.wait_for(root, "node_unreachable")
    assert away["node"] == "beta"
    assert list(client.open_run(root).poll_state().attempt.unreachable) == ["beta"]
    lab.hosts["beta"].start_sshd()
    assert lab.wait_for(root, "node_reached")["node"] == "beta"
    assert lab.end_of(root)["kind"] == "attempt_finished"
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)
    assert all(lab.steps(root, rank) == list(range(100)) for rank in range(4))


def test_a_node_that_is_cut_off_and_back_in_time_goes_on(lab):
    root = lab.start(epochs=4, step_s=0.05)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    assert lab.wait_for(root, "node_unreachable")["node"] == "beta"
    lab.hosts["beta"].link_up()
    assert lab.wait_for(root, "node_reached")["silent_s"] > 1
    assert lab.end_of(root, 60)["kind"] == "attempt_finished"
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)
    assert all(lab.steps(root, rank) == list(range(40)) for rank in range(4))


def test_a_node_that_is_cut_off_too_long_fails_the_run_and_is_ended_when_it_is_back(lab):
    root = lab.start(epochs=500, unreachable_s=3)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    failure = failure_of(lab, root)
    assert (failure["kind"], failure["node"]) == ("node", "beta")
    assert "can't be reached" in failure["meaning"]
    lab.until(lambda: "alpha" not in lab.left())
    assert lab.left()["beta"]
    lab.hosts["beta"].link_up()
    lab.nothing_left(20)
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)


def test_a_node_that_nobody_reaches_ends_its_ranks_by_itself(lab):
    root = lab.start(epochs=500, unreachable_s=3, orphan_limit_s=4)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    assert failure_of(lab, root)["node"] == "beta"
    lab.until(lambda: not [s for s in lab.left().get("beta", ()) if "effnet" in s.command], 60)


def test_a_stopped_rank_is_named_silent(lab):
    root = lab.start(epochs=500, silent_min_s=1)
    lab.wait_for(root, "epoch_finished")
    pid = lab.rank_pid(root, 2)
    os.kill(pid, signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert (silent["rank"], silent["node"]) == (2, "beta")
    os.kill(pid, signal.SIGCONT)
    assert lab.wait_for(root, "rank_recovered")["rank"] == 2
    assert {e["rank"] for e in lab.events(root, "rank_silent")} == {2}
    client.stop_run(root)
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    lab.nothing_left()


def test_ranks_that_ignore_sigterm_go_with_their_grandchildren(lab):
    faults = [{"rank": rank, "step": 1, "do": "ignore_term"} for rank in range(4)]
    forks = [
        {"rank": rank, "step": 1, "do": "fork", "ignore_term": True, "session": rank % 2 == 1}
        for rank in range(4)
    ]
    root = lab.start(*faults, *forks, epochs=500)
    lab.wait_for(root, "epoch_finished")
    client.stop_run(root, save=False)
    stopped = lab.end_of(root)
    assert (stopped["kind"], stopped["leftover"]) == ("attempt_stopped", [])
    lab.nothing_left()
    lab.until(lambda: not actions.is_supervised(root))
    lab.check_copies(root)
