"""Hangs: the stacks of all ranks are taken, and the rank that the others wait for is named."""

from __future__ import annotations

import json
import signal

import pytest

from launcher import client

HANGS = {"loader": "faults.py", "lock": "faults.py", "stop": "stopped"}


def wait_for_stacks(lab, root, count=1):
    silent = lab.wait_for(root, "rank_silent")
    taken = lab.wait_for(root, "stacks_taken", count=count)
    return silent, taken


@pytest.mark.parametrize(("ranks", "do"), [(2, "lock"), (2, "stop"), (8, "loader")])
def test_the_outlier_of_a_hang_is_named_with_its_place(lab, ranks, do):
    outlier = ranks - 1
    root = lab.start({"rank": outlier, "step": 14, "do": do}, ranks=ranks, silent_min_s=3)
    _, taken = wait_for_stacks(lab, root)
    assert taken["outliers"] == [outlier], taken["words"]
    assert HANGS[do] in taken["words"]
    others = "rank 0 waits" if ranks == 2 else f"{ranks - 1} ranks wait"
    assert taken["words"].startswith(f"{others} in the all-reduce; rank {outlier} is ")
    shown = lab.command("status", root.name)
    assert f"; {taken['words'].partition('; ')[2]}" in " ".join(shown.stdout.split())
    dump = json.loads((root / "attempts/001/stacks/001.json").read_text())
    assert [item["rank"] for item in dump["ranks"]] == list(range(ranks))
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_a_healthy_run_loses_no_step_and_says_what_it_does(lab):
    root = lab.start(ranks=2, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    for _ in range(5):
        assert len(client.take_stacks(root).ranks) == 2
    shown = lab.command("stacks", root.name, "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert [bool(item["threads"]) for item in found["ranks"]] == [True, True]
    one = lab.command("stacks", root.name, "--rank", "1")
    assert "main thread" in one.stdout, one.stderr
    assert "effnet/__main__.py" in one.stdout
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"
    for rank in (0, 1):
        steps = lab.check_metrics(root, rank)
        assert steps == list(range(len(steps)))
    assert lab.events(root, "rank_silent") == []


def test_a_rank_without_the_handler_gets_no_signal(lab, monkeypatch):
    monkeypatch.setenv("STANDIN_NO_STACKS", "1")
    root = lab.start({"rank": 1, "step": 14, "do": "loader"}, silent_min_s=3)
    _, taken = wait_for_stacks(lab, root)
    # Where py-spy is installed, it is asked instead.
    asked, found = "gave no stacks (it has no handler: state S", "is in faults.py:"
    assert f"rank 1 {asked}" in taken["words"] or f"rank 1 {found}" in taken["words"]
    assert taken["outliers"] == [1]
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
    assert not [e for e in lab.events(root, "rank_exited") if e["signal"] == signal.SIGRTMIN + 7]


def test_a_failure_of_a_hang_says_where_the_rank_is(lab):
    fault = {"rank": 1, "step": 14, "do": "lock", "attempt": 1}
    root = lab.start(fault, silent_min_s=3, on_silent="stop")
    failure = lab.wait_for(root, "attempt_failed")["failure"]
    assert (failure["kind"], failure["rank"]) == ("hang", 1)
    assert "rank 0 waits in the all-reduce; rank 1 is in faults.py:" in failure["meaning"]


def test_a_hang_fails_the_attempt_although_the_supervisor_dies_while_it_takes_stacks(lab):
    fault = {"rank": 1, "step": 14, "do": "stop", "attempt": 1}
    root = lab.start(fault, silent_min_s=3, on_silent="stop")
    lab.wait_for(root, "rank_silent")
    lab.kill_supervisor(root)
    lab.until(lambda: client.connect(root) or lab.events(root, "attempt_failed"))
    assert lab.wait_for(root, "attempt_failed")["failure"]["kind"] == "hang"
