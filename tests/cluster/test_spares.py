"""A node that fails at night: a spare takes its place, from the last checkpoint."""

from __future__ import annotations

from launcher import client
from launcher.store import run_lock
from tests.cluster.attempt_files import names
from tests.cluster.lab import STEPS, UNREACHABLE_S

SPARE = {"retry_nodes": "spare", "auto_resume": 2}


def test_a_node_that_is_lost_is_replaced_and_offered_again_when_it_is_back(lab):
    root = lab.start(spares=("gamma", "delta"), epochs=5000, unreachable_s=UNREACHABLE_S, **SPARE)
    lab.wait_for(root, "checkpoint_saved")
    lab.hosts["beta"].link_down()
    replaced = lab.wait_for(root, "node_replaced")
    assert (replaced["node"], replaced["spare"], replaced["is_reached"]) == ("beta", "gamma", False)
    assert "beta has not answered" in replaced["why"]
    started = lab.wait_for(root, "attempt_started", count=2)
    assert started["world_size"] == 4
    assert "gamma in the place of beta" in started["resume"]["why"]
    lab.wait_for(root, "training_started", count=2)
    assert names(root, 2) == ["alpha", "gamma"]
    assert "beta" in lab.card(root)
    # Its ranks still run, and end as soon as it is reached; nothing takes it back by itself.
    assert lab.left()["beta"]
    connected = {seen for seen in seen_on(lab, "alpha", "gamma") if is_session(seen)}
    assert connected
    lab.hosts["beta"].link_up()
    is_back(lab, root, "beta")
    # The others do not notice.
    assert connected <= seen_on(lab, "alpha", "gamma")
    assert "--take-back" in lab.card(root)
    continued(lab, root, started)


def seen_on(lab, *nodes):
    return {seen for node in nodes for seen in lab.hosts[node].processes()}


def is_session(seen):
    """Whether it is an SSH connection."""
    return seen.command.startswith(("sshd: root@", "sshd-session: root@"))


def is_back(lab, root, node):
    """It was reached, and nothing of the run is left there."""
    lab.until(lambda: node in {e["node"] for e in lab.events(root, "node_reached")})
    lab.until(lambda: node not in lab.left())


def continued(lab, root, started):
    """The second attempt trains from the first one's checkpoint, and stops as any other."""
    first = started["resume"]["step"]
    assert first >= STEPS
    lab.until(lambda: any(e["attempt"] == 2 for e in lab.events(root, "epoch_finished")))
    client.stop(root)
    stopped = lab.wait_for(root, "attempt_stopped")
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.nothing_left()
    lab.check_steps(root, first, stopped["step"], attempt=2)
    lab.check_copies(root, attempt=2)


def test_a_first_node_without_power_moves_the_master_and_a_dead_spare_is_passed_over(lab, shared):
    root = lab.start(
        spares=("gamma", "delta"),
        epochs=5000,
        unreachable_s=UNREACHABLE_S,
        checkpoints=shared,
        shared="true",
        **SPARE,
    )
    lab.wait_for(root, "checkpoint_saved")
    lab.hosts["gamma"].kill_sshd()
    lab.hosts["alpha"].power_off()
    replaced = [lab.wait_for(root, "node_replaced", count=n) for n in (1, 2)]
    assert [(e["node"], e["spare"]) for e in replaced] == [("alpha", "gamma"), ("gamma", "delta")]
    assert "reachable on gamma" in replaced[1]["why"]
    assert "Connection refused" in replaced[1]["why"]
    lab.wait_for(root, "training_started", count=2)
    assert names(root, 2) == ["delta", "beta"]
    variables = (root / "attempts/002/plan.json").read_text()
    assert f'"MS_SCHED_HOST": "{lab.hosts["delta"].address}"' in variables
    started = lab.events(root, "attempt_started")[1]
    continued(lab, root, started)


def test_without_a_copy_of_the_checkpoints_nothing_begins_at_step_0(lab):
    root = lab.start(spares=("gamma",), epochs=5000, unreachable_s=UNREACHABLE_S, **SPARE)
    lab.wait_for(root, "checkpoint_saved")
    lab.hosts["alpha"].link_down()
    gave_up = lab.wait_for(root, "gave_up")
    assert "checkpoints cannot be read: alpha:" in gave_up["why"]
    assert not lab.events(root, "node_replaced")
    lab.hosts["alpha"].link_up()
    lab.nothing_left()


def test_two_failures_in_a_row_on_one_node_and_the_node_taken_back(lab):
    kills = [
        {"rank": 2, "step": 15, "do": "kill", "attempt": 1},
        {"rank": 3, "step": 25, "do": "kill", "attempt": 2},
        {"rank": 0, "step": 35, "do": "kill", "attempt": 3},
    ]
    root = lab.start(*kills, spares=("gamma",), epochs=5, **SPARE)
    replaced = lab.wait_for(root, "node_replaced")
    assert (replaced["node"], replaced["spare"], replaced["is_reached"]) == ("beta", "gamma", True)
    assert replaced["attempt"] == 2
    assert "2 attempts in a row failed on it" in replaced["why"]
    lab.wait_for(root, "gave_up")
    assert [names(root, n) for n in (1, 2, 3)] == [["alpha", "beta"]] * 2 + [["alpha", "gamma"]]
    lab.until(lambda: not run_lock.is_supervised(root))
    card = lab.card(root)
    assert "gamma has the place of beta, which answers" in card
    client.resume(root, client.ResumeRequest(preflight=False, take_back=True))
    assert lab.wait_for(root, "node_taken_back")["node"] == "beta"
    lab.wait_for(root, "attempt_finished")
    assert names(root, 4) == ["alpha", "beta"]
    assert "gamma" not in lab.card(root)
    lab.check_steps(root, 30, 50, attempt=4)


def test_a_new_supervisor_still_ends_what_runs_on_a_node_that_was_left_out(lab):
    root = lab.start(spares=("gamma",), epochs=5000, unreachable_s=UNREACHABLE_S, **SPARE)
    lab.wait_for(root, "checkpoint_saved")
    lab.hosts["beta"].link_down()
    lab.wait_for(root, "training_started", count=2)
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    assert lab.left()["beta"]
    client.connect(root)
    lab.hosts["beta"].link_up()
    is_back(lab, root, "beta")
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped")["attempt"] == 2
