"""Jobs beside a training."""

from __future__ import annotations

import itertools
import json
import signal

import pytest

from launcher import client
from launcher.errors import BusyError
from tests.job_runner import kill_runner


def test_a_job_runs_beside_the_training_and_can_be_stopped(lab):
    root = lab.start(epochs=5000, step_s=0.1, eval_s=0.2)
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
    done = lab.command("export", root.name, "--precision", "int4")
    assert (done.returncode, "Known: fp32, fp16, int8" in done.stderr) == (2, True)
    done = lab.command("export", root.name, "--format", "MINDIR", "--precision", "int8")
    assert (done.returncode, "Use --format ONNX" in done.stderr) == (2, True)
    done = lab.command("export", root.name, "--precision", "int8", "--json")
    assert done.returncode == 0, done.stderr
    (started,) = [e for e in lab.events(root, "job_started") if e["job"] == "005-export"]
    assert {"--precision", "int8", "--dataset_path"} <= set(started["argv"])
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_jobs_use_the_validation_images_that_the_run_has_elsewhere(lab):
    elsewhere = lab.folder / "elsewhere"
    (elsewhere / "a").mkdir(parents=True)
    request = client.StartRequest(
        preflight=False, settings=(("eval_dataset_path", str(elsewhere)),)
    )
    root = lab.runs / client.start(str(lab.profile(epochs=1)), request)
    lab.wait_for(root, "attempt_finished")

    def given(*words):
        done = lab.command(*words[:1], root.name, *words[1:], "--json")
        assert done.returncode == 0, done.stderr
        argv = lab.events(root, "job_started")[-1]["argv"]
        options = dict(itertools.pairwise(argv))
        return options.get("--dataset_path"), options.get("--eval_dataset_path")

    data = str(lab.folder / "data")
    assert given("eval") == (str(elsewhere), None)
    assert given("eval", "--data", data) == (data, None)
    assert given("export", "--precision", "int8") == (data, str(elsewhere))
    assert given("export", "--precision", "int8", "--data", data) == (data, None)
    assert given("export") == (None, None)
    assert given("infer") == (str(elsewhere), None)


def test_a_stopped_job_leaves_no_process(lab):
    fork = {"attempt": 0, "do": "fork", "session": True, "ignore_term": True}
    root = lab.start(fork, eval_s=600, epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    job = client.start_job(root, client.JobRequest("eval"))
    lab.until(lambda: len(lab.ours()) >= 4)
    assert lab.command("stop", root.name, "--job", job).returncode == 0
    finished = lab.wait_for(root, "job_finished")
    assert finished["exit_code"] == 128 + signal.SIGTERM
    lab.nothing_left()


def test_a_job_whose_runner_was_killed_is_lost_and_its_end_is_recorded(lab):
    root = lab.start(eval_s=600, epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    for number, how in enumerate(("attach", "stop"), 1):
        job = client.start_job(root, client.JobRequest("eval"))
        kill_runner(root / "jobs" / job)
        (found,) = [item for item in client.open_run(root).poll().state.jobs if item.job == job]
        assert found.lost_words == "nothing follows it any more"
        shown = lab.command("status", root.name).stdout.replace("\n", " ")
        assert f"{job}: lost: nothing follows it any more" in shown
        words = ("attach", root.name) if how == "attach" else ("stop", root.name, "--job", job)
        done = lab.command(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert lab.wait_for(root, "job_finished", count=number)["exit_code"] is None
        assert (
            "how the job ended is not known" in lab.command("logs", root.name, "--job", job).stdout
        )
        assert "lost" not in lab.command("status", root.name).stdout
        lab.nothing_left()
        with pytest.raises(BusyError, match="is over already"):
            client.stop_job(root, job)


def test_who_waits_for_a_job_whose_runner_is_killed_hears_of_its_end(lab):
    root = lab.start(eval_s=600, epochs=1)
    lab.wait_for(root, "attempt_finished")
    job = client.start_job(root, client.JobRequest("eval"))
    kill_runner(root / "jobs" / job)
    assert client.wait_for_job(root, job).exit_code is None
    lab.nothing_left()
