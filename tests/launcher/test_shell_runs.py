"""Runs that go as they should: to the end, stopped, resumed, evaluated."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from launcher import client
from launcher.errors import BusyError, CheckpointError
from launcher.runs import start
from launcher.store import run as run_files


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


def test_garbage_and_huge_lines_harm_nothing(lab):
    root = lab.start(
        {"rank": 0, "step": 2, "do": "garbage"},
        {"rank": 0, "step": 4, "do": "huge_line", "bytes": 3_000_000},
        {"rank": 1, "step": 4, "do": "huge_line", "bytes": 70_000},
    )
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == list(range(30))


def test_stop_saves_and_leaves_nothing_and_resume_goes_on_there(lab):
    root = lab.start(step_s=0.05, epochs=4)
    lab.wait_for(root, "checkpoint_saved")
    done = lab.command("stop", root.name, "--json")
    assert done.returncode == 0, done.stderr
    stopped = lab.wait_for(root, "attempt_stopped")
    assert stopped["leftover"] == []
    assert stopped["step"] == lab.events(root, "checkpoint_saved")[-1]["step"]
    assert {e["exit_code"] for e in lab.events(root, "rank_exited")} == {0}
    assert lab.events(root, "stop_requested")[0]["save"] is True
    lab.nothing_left()
    logs = [lab.log(root, rank) for rank in (0, 1)]

    choice = client.resume_run(root)
    assert choice.step == stopped["step"]
    assert choice.verified
    assert choice.steps_lost == 0
    lab.wait_for(root, "attempt_finished")
    assert [lab.log(root, rank) for rank in (0, 1)] == logs
    assert lab.check_metrics(root, 1, attempt=2) == list(range(choice.step, 40))
    assert lab.events(root, "attempt_started")[1]["resume"]["step"] == choice.step
    with pytest.raises(BusyError):
        client.resume_run(root)


def test_stop_without_saving_is_quick(lab):
    root = lab.start(step_s=0.05, epochs=100)
    lab.wait_for(root, "training_started")
    began = time.monotonic()
    client.stop_run(root, save=False, by="a test")
    stopped = lab.wait_for(root, "attempt_stopped")
    assert time.monotonic() - began < 10  # what saving would have been given
    assert stopped["leftover"] == []
    assert lab.events(root, "stop_requested")[0]["by"] == "a test"


def test_stop_ends_what_ignores_sigterm_with_all_its_children(lab):
    root = lab.start(
        {"rank": 1, "step": 0, "do": "ignore_term"},
        {"rank": 1, "step": 1, "do": "fork", "ignore_term": True},
        {"rank": 1, "step": 1, "do": "fork", "ignore_term": True, "session": True},
        {"rank": 0, "step": 1, "do": "fork", "session": True, "clean_env": True},
        {"rank": 1, "step": 8, "do": "hang"},
        stop_save_s=0.5,
        term_s=0.5,
    )
    lab.wait_for(root, "training_started")
    lab.until(lambda: b"step:[    7/" in lab.log(root, 1))
    client.stop_run(root)
    stopped = lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert stopped["kind"] == "attempt_stopped"
    assert stopped["leftover"] == []
    lab.nothing_left()


def test_a_half_written_checkpoint_is_passed_over(lab):
    root = lab.start(
        {"rank": 0, "step": 20, "do": "half_checkpoint"},
        {"rank": 1, "step": 24, "do": "kill", "attempt": 1},
    )
    lab.wait_for(root, "attempt_failed")
    lab.nothing_left()
    damaged = root / "checkpoint/step-00000020.ckpt"
    (root / "checkpoint/step-00000029.ckpt").write_bytes(b"a part of a file")
    choice = client.resume_run(root)
    assert choice.step == 10
    assert choice.steps_lost is not None
    assert choice.steps_lost >= 13
    why = {skipped.path: skipped.why for skipped in choice.skipped}
    assert "sha256" in why[str(damaged)]
    assert "manifest" in why[str(root / "checkpoint/step-00000029.ckpt")]
    lab.wait_for(root, "attempt_finished")
    assert lab.check_metrics(root, 0, attempt=2) == list(range(10, 30))


def test_resume_without_a_checkpoint_is_refused_but_for_scratch(lab):
    root = lab.start({"rank": 0, "step": 3, "do": "exit", "code": 7, "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not start.is_supervised(root))
    with pytest.raises(CheckpointError):
        client.resume_run(root)
    assert lab.command("resume", root.name).returncode == 5
    client.resume_run(root, checkpoint="scratch")
    lab.wait_for(root, "attempt_finished")


def test_auto_resume_tries_again_and_gives_up_without_progress(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill"}, auto_resume=5)
    lab.until(lambda: len(lab.events(root, "attempt_failed")) == 3, 30)
    lab.until(lambda: not start.is_supervised(root))
    # The first saved step 10; two more saved nothing beyond it.
    attempts = lab.events(root, "attempt_started")
    assert [a["resume"] and a["resume"]["step"] for a in attempts] == [None, 10, 10]


def test_auto_resume_reaches_the_end(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1}, auto_resume=1)
    lab.wait_for(root, "attempt_finished")
    assert len(lab.events(root, "attempt_started")) == 2


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


def test_a_job_runs_beside_the_training_and_can_be_stopped(lab):
    root = lab.start(step_s=0.1, eval_s=0.2)
    lab.wait_for(root, "checkpoint_saved")
    done = lab.command("eval", root.name, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["top_1_acc"] == 0.9
    assert json.loads((root / "jobs/001-eval/result.json").read_text())["images"] == 360
    assert lab.events(root, "eval_finished")[0]["job"] == "001-eval"
    assert client.open_run(root).poll().state.skipped == 0
    done = lab.command("export", root.name)
    assert done.returncode == 0, done.stderr
    assert lab.command("infer", root.name).returncode == 0
    assert (root / "jobs/003-infer/predictions.csv").is_file()
    done = lab.command("eval", root.name, "--weights", "ema", "--json")
    assert json.loads(done.stdout)["result"]["weights"] == "ema"
    done = lab.command("eval", root.name, "--weights", "emma")
    assert (done.returncode, "Known: model, ema" in done.stderr) == (2, True)
    done = lab.command("export", root.name, "--image-size", "big")
    assert (done.returncode, "no whole number of pixels" in done.stderr) == (2, True)
    lab.wait_for(root, "attempt_finished")


def test_a_job_that_is_stopped_leaves_nothing(lab):
    fork = {"attempt": 0, "do": "fork", "session": True, "ignore_term": True}
    root = lab.start(fork, eval_s=600, epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    job = client.start_job(root, "eval")
    lab.until(lambda: len(lab.ours()) >= 4)
    assert lab.command("stop", root.name, "--job", job).returncode == 0
    finished = lab.wait_for(root, "job_finished")
    assert finished["exit_code"] == 128 + signal.SIGTERM


def test_prune_removes_old_runs_and_no_living_one(lab):
    old = lab.start(epochs=1)
    lab.wait_for(old, "attempt_finished")
    lab.until(lambda: not start.is_supervised(old))
    living = lab.start(epochs=100)
    lab.wait_for(living, "training_started")
    assert lab.command("prune", "--keep", "0").returncode == 4
    assert lab.command("prune", "--run", living.name, "--yes").returncode == 4
    assert json.loads(lab.command("prune", "--keep", "0", "--yes", "--json").stdout) == {
        "removed": [old.name]
    }
    assert [path.name for path in lab.runs.iterdir()] == [living.name]
    client.stop_run(living, save=False)
    lab.wait_for(living, "attempt_stopped")


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


def test_settings_that_were_refused_are_not_the_runs(lab):
    root = lab.start(
        {"rank": 1, "step": 14, "do": "kill", "attempt": 1},
        {"step": 0, "do": "exit", "code": 5, "attempt": 2},
    )
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not start.is_supervised(root))
    client.resume_run(root, sets=[("seed", "9")])
    lab.wait_for(root, "attempt_failed", count=2)
    lab.until(lambda: not start.is_supervised(root))
    client.resume_run(root)
    lab.wait_for(root, "attempt_finished")
    plans = [(root / "attempts" / number / "plan.json").read_text() for number in ("002", "003")]
    assert ["seed=9" in plan for plan in plans] == [True, False]


def test_settings_that_an_attempt_trained_with_stay(lab):
    root = lab.start({"rank": 1, "step": 14, "do": "kill", "attempt": 1})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not start.is_supervised(root))
    client.resume_run(root, sets=[("seed", "9")])
    lab.wait_for(root, "attempt_finished")
    lab.until(lambda: not start.is_supervised(root))
    assert ("seed", "9") in run_files.load(root).request.settings
    assert not (root / "before-edit.json").exists()


def test_a_run_goes_on_from_another_runs_checkpoint(lab, tmp_path):
    first = lab.start(epochs=2)
    lab.wait_for(first, "attempt_finished", "attempt_failed")
    elsewhere = tmp_path / "a copy"
    elsewhere.mkdir()
    for suffix in ("", ".manifest.json"):
        name = f"step-00000010.ckpt{suffix}"
        (elsewhere / name).write_bytes((first / "checkpoint" / name).read_bytes())
    done = lab.command(
        "start", str(lab.profile(epochs=2)), "--follow", "--name", "second",
        "--resume", str(elsewhere / "step-00000010.ckpt"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    second = lab.runs / "second"
    started = lab.events(second, "attempt_started")[0]
    assert started["resume"]["step"] == 10
    assert lab.check_metrics(second, 0) == list(range(10, 20))
    done = lab.command("start", str(lab.profile()), "--resume", str(tmp_path / "none.ckpt"))
    assert done.returncode == 1
    assert "none.ckpt" in done.stderr
    assert len(client.list_runs()) == 2
