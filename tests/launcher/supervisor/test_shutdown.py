"""How ranks exit after their last step: errors of MindSpore's shutdown do not fail the run."""

from __future__ import annotations

import signal

import pytest

from launcher import client

LAST = 30
"""Steps of the whole run: what happens there happens behind the `done:` line."""


def finished(lab, root):
    event = lab.wait_for(root, "attempt_failed", "attempt_finished")
    assert event["kind"] == "attempt_finished", event
    lab.nothing_left()
    exits = {event["rank"]: event for event in lab.events(root, "rank_exited")}
    assert all(event["was_done"] for event in exits.values())
    return exits


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_after_its_last_step_does_not_fail_the_run(lab, rank):
    root = lab.start({"rank": rank, "step": LAST, "do": "crash_in_leaving"})
    exits = finished(lab, root)
    assert exits[rank]["signal"] == signal.SIGKILL
    snapshot = client.open_run(root).poll()
    assert {row.status for row in snapshot.ranks} == {client.RankStatus.ENDED}
    assert f"rank {rank} on 127.0.0.1 was done" in (root / "supervisor.log").read_text()


def test_a_rank_that_dies_on_its_last_step_fails_the_run(lab):
    root = lab.start({"rank": 1, "step": LAST - 1, "do": "kill"})
    event = lab.wait_for(root, "attempt_failed", "attempt_finished")
    assert event["kind"] == "attempt_failed"
    assert event["failure"]["rank"] == 1
    exits = {event["rank"]: event for event in lab.events(root, "rank_exited")}
    assert not exits[1]["was_done"]


@pytest.mark.parametrize("ranks", [[1], [0, 1]])
def test_finished_ranks_that_do_not_exit_are_ended(lab, ranks):
    stay = [{"rank": rank, "step": LAST, "do": "linger", "seconds": 3600} for rank in ranks]
    root = lab.start(*stay, spread_s=2)
    exits = finished(lab, root)
    assert all(exits[rank]["exit_code"] != 0 for rank in ranks)
