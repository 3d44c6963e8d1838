"""A node that fails at night, and no spare: the others carry its ranks, within an epoch too."""

from __future__ import annotations

from launcher import client
from launcher.store import run_lock
from tests.cluster.attempt_files import carried, names, states, unbroken
from tests.cluster.lab import UNREACHABLE_S

SHRINK = {"retry_nodes": "shrink", "auto_resume": 3, "slots": 1, "state": "1"}
WITHIN = {"steps": 100_000, "save": 10, "unreachable_s": UNREACHABLE_S}
"""All of it is within one epoch."""


def trains(lab, root, attempt):
    """It has got further than what it resumed from."""
    lab.until(lambda: any(e["attempt"] == attempt for e in lab.events(root, "checkpoint_saved")))


def stopped(lab, root, attempt):
    """As any other run; its last steps follow from those of the attempts before."""
    client.stop(root)
    end = lab.end_of(root)
    assert (end["kind"], end["attempt"]) == ("attempt_stopped", attempt)
    lab.until(lambda: not run_lock.is_supervised(root))
    first = lab.events(root, "attempt_started")[attempt - 1]["resume"]["step"]
    lab.check_steps(root, first, end["step"], attempt=attempt)
    found = states(root, attempt)
    assert sorted(found) == list(range(first + 1, end["step"] + 1))
    expected = unbroken(end["step"], 3)
    assert found == {step: expected[step] for step in found}
    return first


def test_the_first_node_without_power_is_left_out_and_offered_again(lab):
    """Rank 0's node: training continues from a copy within an epoch, and takes all nodes back."""
    root = lab.start(nodes=("alpha", "beta", "gamma"), copies=2, **SHRINK, **WITHIN)
    lab.wait_for(root, "checkpoint_copied")
    lab.hosts["alpha"].power_off()
    left = lab.wait_for(root, "node_left_out")
    assert (left["node"], left["is_reached"]) == ("alpha", False)
    assert "answer" in left["why"]
    started = lab.wait_for(root, "attempt_started", count=2)
    assert (started["world_size"], started["logical_size"]) == (2, 3)
    assert "without alpha: 2 ranks instead of 3" in started["resume"]["why"]
    assert "the copy on beta" in started["resume"]["why"]
    trains(lab, root, 2)
    assert names(root, 2) == ["beta", "gamma"]
    card = lab.card(root)
    assert "trains with 2 ranks instead of 3" in card
    assert "the run continues without alpha, which does not answer" in card
    lab.hosts.repair()
    lab.until(lambda: "alpha" in {e["node"] for e in lab.events(root, "node_reached")})
    assert stopped(lab, root, 2) >= 10
    assert carried(root, 2, 2) == ["carries [0, 2] of 3", "carries [1] of 3"]
    assert "which answers" in lab.card(root)
    client.resume(root, client.ResumeRequest(preflight=False, take_back=True))
    trains(lab, root, 3)
    assert names(root, 3) == ["alpha", "beta", "gamma"]
    assert lab.events(root, "node_taken_back")[0]["node"] == "alpha"
    assert "instead of" not in lab.card(root)
    stopped(lab, root, 3)
    lab.nothing_left()


def test_one_node_carries_all_after_a_spare_and_another_node_have_failed(lab):
    """Two failures in a row take the spare, then there is none; the last node is never left out."""
    kills = [
        {"rank": 1, "step": 12, "do": "kill", "attempt": 1},
        {"rank": 1, "step": 12, "do": "kill", "attempt": 2},
        {"rank": 1, "step": 22, "do": "kill", "attempt": 3},
        {"rank": 1, "step": 22, "do": "kill", "attempt": 4},
        {"rank": 0, "step": 32, "do": "kill", "attempt": 5},
    ]
    root = lab.start(*kills, spares=("gamma",), epochs=4, **{**SHRINK, "auto_resume": 5})
    replaced = lab.wait_for(root, "node_replaced")
    assert (replaced["node"], replaced["spare"]) == ("beta", "gamma")
    left = lab.wait_for(root, "node_left_out")
    assert (left["node"], left["is_reached"]) == ("gamma", True)
    assert "2 attempts in a row failed on it" in left["why"]
    lab.wait_for(root, "attempt_finished")
    assert [names(root, n) for n in range(1, 7)] == [
        *[["alpha", "beta"]] * 2,
        *[["alpha", "gamma"]] * 2,
        *[["alpha"]] * 2,
    ]
    assert carried(root, 6, 1) == ["carries [0, 1] of 2"]
    lab.check_steps(root, 30, 40, attempt=6)
    lab.nothing_left()
