"""A run from its start to its end."""

from __future__ import annotations

import json
import os

from launcher import client


def test_a_run_finishes_with_every_report_and_event_once(lab):
    root = lab.start({"rank": 1, "step": 3, "do": "lines", "count": 20000})
    finished = lab.wait_for(root, "attempt_finished", "attempt_failed")
    assert finished["kind"] == "attempt_finished"
    assert finished["step"] == 30
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == list(range(30))
    kinds = [event["kind"] for event in lab.events(root)]
    assert kinds[:3] == ["run_created", "supervisor_started", "attempt_started"]
    assert kinds.count("rank_started") == kinds.count("rank_exited") == 2
    assert kinds.count("training_started") == 1
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == [1, 2, 3]
    assert [e["step"] for e in lab.events(root, "checkpoint_saved")] == [10, 20, 30]
    assert [event["n"] for event in lab.events(root)] == list(range(1, len(kinds) + 1))
    assert lab.log(root, 1).count(b"burst ") == 20000
    snapshot = client.open_run(root).poll()
    assert snapshot.status.value == "finished"
    assert snapshot.state.skipped == snapshot.state.gaps == 0
    lab.until(lambda: not (root / "supervisor.json").exists())


def test_the_command_starts_and_follows_to_the_end(lab):
    done = lab.command("start", str(lab.profile()), "--follow")
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    listed = json.loads(lab.command("runs", "--json").stdout)
    assert [run["status"] for run in listed] == ["finished"]
    assert lab.command("logs", "--grep", "^done:").stdout.startswith("done: epochs:[3]")


def test_garbage_and_huge_lines_do_no_harm(lab):
    root = lab.start(
        {"rank": 0, "step": 2, "do": "garbage"},
        {"rank": 0, "step": 4, "do": "huge_line", "bytes": 3_000_000},
        {"rank": 1, "step": 4, "do": "huge_line", "bytes": 70_000},
    )
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == list(range(30))


def test_two_starts_at_once_are_two_runs(lab):
    first, second = lab.start(), lab.start()
    assert first != second
    for root in (first, second):
        done = lab.wait_for(root, "attempt_finished", "attempt_failed")
        assert done["kind"] == "attempt_finished", done
        assert lab.check_metrics(root, 0) == list(range(30))
    ports = {
        json.loads((r / "attempts/001/plan.json").read_text())["master_port"]
        for r in (first, second)
    }
    assert len(ports) == 2


def test_settings_and_plan_reach_the_ranks(lab):
    arguments = (str(lab.profile()), "--set", "epoch_size=1")
    plan = json.loads(lab.command("plan", *arguments, "--json").stdout)
    assert plan["world_size"] == 2
    assert not lab.runs.exists() or not os.listdir(lab.runs)
    assert lab.command("start", *arguments, "--follow").returncode == 0
    root = next(lab.runs.iterdir())
    assert lab.wait_for(root, "attempt_finished")["step"] == 10
    written = json.loads((root / "attempts/001/plan.json").read_text())
    ranks = [p["argv"][1:] for p in plan["processes"] if p["role"] == "rank"]
    started = [p["argv"][1:] for p in written["processes"] if p["role"] == "rank"]
    old, new = plan["run_directory"], written["run_directory"]
    assert [[a.replace(old, new) for a in argv] for argv in ranks] == started
