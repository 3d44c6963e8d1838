"""Real OpenMPI between real hosts, with the generated hostfile and ssh configuration."""

from __future__ import annotations

import os
import signal

from launcher.store import run_lock
from tests.cluster.lab import UNREACHABLE_S


def test_a_run_through_mpirun_finishes_with_every_line_once(lab):
    root = lab.start(method="mpirun")
    ended = lab.end_of(root)
    assert ended["kind"] == "attempt_finished", ended
    nodes = {e["rank"]: e["node"] for e in lab.events(root, "rank_started")}
    assert nodes == {0: "alpha", 1: "alpha", 2: "beta", 3: "beta"}
    lab.nothing_left()
    lab.check_copies(root)
    assert lab.steps(root, 3) == list(range(30))
    config = lab.node_file(root, "alpha", "attempts/001/ssh_config").read_text()
    assert "StrictHostKeyChecking yes" in config


def test_a_rank_of_mpirun_that_is_killed_is_named_and_nothing_is_left(lab):
    root = lab.start({"rank": 1, "step": 1, "do": "ignore_term"}, method="mpirun", epochs=5000)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.rank_pid(root, 3), signal.SIGKILL)
    ended = lab.end_of(root)
    assert ended["kind"] == "attempt_failed"
    failure = ended["failure"]
    assert (failure["rank"], failure["node"], failure["signal"]) == (3, "beta", signal.SIGKILL)
    lab.nothing_left()
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.check_copies(root)


def test_stop_saves_under_mpirun_too(lab):
    root = lab.start(method="mpirun", epochs=5000)
    lab.wait_for(root, "epoch_finished")
    assert lab.command("stop", root.name).returncode == 0
    stopped = lab.end_of(root)
    assert (stopped["kind"], stopped["leftover"]) == ("attempt_stopped", [])
    assert lab.events(root, "checkpoint_saved")[-1]["step"] == stopped["step"]
    lab.nothing_left()


def test_a_stop_before_mpirun_has_started_the_ranks_waits_for_nothing(lab):
    root = lab.start(method="mpirun", epochs=5000, stop_save_s=600)
    assert lab.command("stop", root.name).returncode == 0
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    lab.nothing_left()


def daemon_pid(lab, host):
    return lab.pid_like(host, "orted", "ess_base_vpid")


def test_the_ssh_sessions_of_a_node_may_end_and_mpiruns_ranks_train_on(lab):
    root = lab.start_endless(method="mpirun", step_s=0.08)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].kill_sshd()
    assert lab.wait_for(root, "node_unreachable")["node"] == "beta"
    lab.hosts["beta"].start_sshd()
    assert lab.wait_for(root, "node_reached")["node"] == "beta"
    steps = lab.enough(root)
    lab.whole(root)
    lab.check_steps(root, 0, steps)


def test_openmpis_daemon_that_is_killed_is_named_with_its_node(lab):
    root = lab.start(method="mpirun", nodes=("alpha", "beta", "gamma"), epochs=5000)
    lab.wait_for(root, "epoch_finished")
    os.kill(daemon_pid(lab, "gamma"), signal.SIGKILL)
    failure = lab.failed(root, kind="signal", node="gamma", rank=None, signal=signal.SIGKILL)
    assert "the OpenMPI daemon" in failure["meaning"]
    assert "gamma" in failure["try_next"]
    lab.whole(root)


def test_a_first_node_that_is_cut_off_leaves_no_daemon_on_the_others(lab):
    root = lab.start(
        method="mpirun", nodes=("alpha", "beta", "gamma"), epochs=5000, unreachable_s=UNREACHABLE_S
    )
    lab.wait_for(root, "epoch_finished")
    lab.hosts["alpha"].link_down()
    failure = lab.failed(root, kind="node", node="alpha", rank=None)
    assert "alpha has not answered" in failure["meaning"]
    lab.until(lambda: not {"beta", "gamma"} & set(lab.left()), why=lambda: str(lab.left()))
    lab.hosts["alpha"].link_up()
    lab.whole(root)
