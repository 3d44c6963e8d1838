"""Jobs on nodes, and checkpoints that are needed on another node than the one that wrote them."""

from __future__ import annotations

import json
import os

from launcher import client
from launcher.store.event_log import read_state
from tests.job_runner import kill_runner

EVALUATED = "/tmp/evaluated"
"""On beta: with it, the evaluation of the stand-in ends."""


def start(lab, extra="", **changes):
    path = lab.profile(**{"epochs": 500, **changes})
    path.write_text(path.read_text() + extra)
    return lab.runs / client.start(str(path), client.StartRequest(preflight=False))


def ran(lab, *arguments):
    done = lab.command(*arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_jobs_run_on_a_chosen_node_while_the_run_trains(lab):
    root = start(lab)
    lab.wait_for(root, "checkpoint_saved")
    result = ran(lab, "eval", root.name)
    assert (result["exit_code"], result["result"]["images"]) == (0, 360)
    # Without a choice it is where the checkpoint lies, and nothing is copied.
    started = lab.wait_for(root, "job_started")
    assert started["node"] == "alpha"
    assert result["result"]["checkpoint"] in started["argv"]
    assert result["result"]["checkpoint"].startswith("/home/root/runs/")
    assert json.loads((root / "jobs/001-eval/result.json").read_text())["top_1_acc"] == 0.9
    there = lab.node_file(root, "alpha", "jobs/001-eval/log.txt").read_bytes()
    assert (root / "jobs/001-eval/log.txt").read_bytes() == there

    target = lab.folder / "made" / "b2"
    result = ran(lab, "export", root.name, "--node", "beta", "--name", str(target))
    assert result["result"]["path"] == f"{target}.onnx"
    assert target.with_suffix(".onnx").read_bytes() == b"onnx"
    argv = lab.wait_for(root, "job_started", count=2)["argv"]
    assert "/jobs/002-export/checkpoint/step-" in " ".join(argv)
    left = {path.name for path in lab.node_file(root, "beta", "jobs/002-export").iterdir()}
    assert not left & {"checkpoint", "export"}

    result = ran(lab, "infer", root.name, "--node", "beta", "--model", f"{target}.onnx")
    assert lab.wait_for(root, "job_started", count=3)["node"] == "beta"
    assert (root / "jobs/003-infer/predictions.csv").read_text().startswith("image,")
    assert result["result"]["images"] == 360
    client.stop(root, client.StopRequest(save=False))
    lab.end_of(root)
    assert ran(lab, "eval", root.name)["exit_code"] == 0
    done = lab.command("eval", root.name, "--node", "delta")
    assert done.returncode == 2
    assert "alpha, beta" in done.stderr


def test_a_job_outlives_its_connection_and_stops_when_asked(lab):
    evaluated = lab.hosts["beta"].root / EVALUATED[1:]
    evaluated.unlink(missing_ok=True)
    root = start(lab, f'\nSTANDIN_EVAL_S = "600"\nSTANDIN_EVALUATED = "{EVALUATED}"\n')
    lab.wait_for(root, "checkpoint_saved")
    job = client.start_job(root, client.JobRequest("eval", node="beta"))
    path = lab.node_file(root, "beta", f"jobs/{job}/log.txt")
    lab.until(path.exists)
    lab.hosts["beta"].kill_sshd()
    lab.wait_for(root, "node_unreachable")
    lab.hosts["beta"].start_sshd()
    evaluated.touch()
    assert client.wait_for_job(root, job).exit_code == 0
    assert (root / f"jobs/{job}/log.txt").read_bytes() == path.read_bytes()
    evaluated.unlink()

    job = client.start_job(root, client.JobRequest("eval", node="beta"))
    path = lab.node_file(root, "beta", f"jobs/{job}/log.txt")
    lab.until(path.exists)
    client.stop_job(root, job)
    state = client.wait_for_job(root, job)
    assert state.exit_code == 143
    client.stop(root, client.StopRequest(save=False))
    lab.end_of(root)
    assert read_state(root).jobs[1].finished_s is not None


def test_a_job_whose_follower_died_goes_on_and_is_followed_again(lab):
    root = start(lab, '\nSTANDIN_EVAL_S = "600"\n', epochs=1)
    assert lab.end_of(root)["kind"] == "attempt_finished"
    job = client.start_job(root, client.JobRequest("eval", node="beta"))
    there = lab.node_file(root, "beta", f"jobs/{job}/log.txt")
    lab.until(there.exists)
    kill_runner(root / f"jobs/{job}")
    assert f"{job}: lost: nothing follows it any more" in lab.card(root).replace("\n", " ")
    assert client.follow_jobs(root) == (job,)
    assert "lost" not in lab.card(root)
    client.stop_job(root, job)
    assert client.wait_for_job(root, job).exit_code == 143
    assert (root / f"jobs/{job}/log.txt").read_bytes() == there.read_bytes()
    assert read_state(root).skipped == 0
    assert client.follow_jobs(root) == ()


def test_resume_with_rank_0_on_another_node_brings_the_checkpoint_there(lab):
    root = start(lab, step_s=0.05)
    lab.wait_for(root, "checkpoint_saved")
    os.kill(lab.rank_pid(root, 1), 9)
    assert lab.end_of(root)["kind"] == "attempt_failed"
    lab.nothing_left()
    step = lab.events(root, "checkpoint_saved")[-1]["step"]
    edited = lab.profile(nodes=("gamma",), epochs=step // 10 + 1)
    name = f"checkpoint/step-{step:08d}.ckpt"
    done = lab.command("resume", root.name, "--profile", str(edited), "--dry-run")
    assert "would be copied from alpha to gamma" in done.stdout, done.stdout + done.stderr
    assert not lab.node_file(root, "gamma", name).exists()
    done = lab.command("resume", root.name, "--profile", str(edited))
    assert "copied from alpha to gamma: " in done.stdout, done.stdout + done.stderr
    assert lab.end_of(root)["kind"] == "attempt_finished"
    there = lab.node_file(root, "gamma", name).read_bytes()
    assert there == lab.node_file(root, "alpha", name).read_bytes()
    # Two ranks instead of four, from the end of an epoch on.
    assert lab.steps(root, 1, attempt=2) == list(range(step, step + 10))
    lab.nothing_left()
    # What rank 0 wrote on gamma is newer, and the run's now.
    assert client.resume_choice(root).step == step + 10
    folders = [lab.node_file(root, node, ".") for node in ("alpha", "beta", "gamma")]
    assert all(folder.exists() for folder in folders)
    lab.hosts["gamma"].kill_sshd()
    done = lab.command("prune", "--run", root.name, "--yes")
    assert done.returncode == 6
    assert "--here" in done.stderr
    lab.hosts["gamma"].start_sshd()
    assert lab.command("prune", "--run", root.name, "--yes").returncode == 0
    assert not any(folder.exists() for folder in (*folders, root))
