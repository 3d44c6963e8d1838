"""Runs under Slurm that go as they should: to the end, stopped, resumed, cancelled in the queue."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys


def test_a_run_on_two_nodes_finishes(lab):
    root = lab.start()
    assert lab.end_of(root)["kind"] == "attempt_finished"
    assert sorted(lab.nodes(root).values()) == ["n1", "n1", "n2", "n2"]
    assert lab.steps(root, 3) == list(range(30))
    lab.no_job_left(root)
    assert "finished" in lab.command("status", root.name).stdout


def test_stop_saves_and_resume_continues_in_another_job(lab):
    done = lab.command("start", str(lab.profile(epochs=5000)), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    root = lab.runs / json.loads(done.stdout)["run"]
    lab.wait_for(root, "checkpoint_saved")
    assert "running" in lab.command("status", root.name).stdout
    assert "plain" in lab.command("logs", root.name, "--rank", "3", "-n", "4").stdout
    done = lab.command("stop", root.name)
    assert done.returncode == 0, done.stdout + done.stderr
    stopped = lab.end_of(root)
    assert stopped["kind"] == "attempt_stopped"
    lab.no_job_left(root)
    epochs = stopped["step"] // 10 + 2
    done = lab.command("resume", root.name, "--set", f"epoch_size={epochs}")
    assert f"step {stopped['step']}" in done.stdout, done.stdout + done.stderr
    assert lab.end_of(root, attempt=2)["kind"] == "attempt_finished"
    assert lab.steps(root, 3, attempt=2)[-1] == epochs * 10 - 1
    assert len({e["job"] for e in lab.events(root, "slurm_queued")}) == 2


def test_a_run_in_a_full_partition_says_why_it_waits_and_stop_cancels_it(lab):
    blocker = lab.fill_partition()
    root = lab.start()
    job = lab.job(root)
    lab.until(lambda: "free nodes" in lab.command("status", root.name).stdout)
    shown = lab.command("status", root.name).stdout
    assert "pending" in shown
    assert f"job {job} waits in the queue" in shown
    assert "pending" in lab.command("runs").stdout
    assert json.loads(lab.command("status", root.name, "--json").stdout)["status"] == "pending"
    done = lab.command("stop", root.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cancelled in the queue by" in lab.command("status", root.name).stdout
    assert lab.slurm.job_state(job) == "CANCELLED"
    assert lab.slurm.job_state(blocker) == "RUNNING"
    lab.slurm.call("scancel", blocker)


def test_the_plan_and_the_preflight_show_what_slurm_gets_and_says(lab):
    plan = lab.command("plan", str(lab.profile(time_limit="1:00:00"))).stdout
    assert "#SBATCH --nodes=2" in plan
    assert "#SBATCH --time=1:00:00" in plan
    done = lab.command("preflight", str(lab.profile()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "partition train: up, 3 nodes" in done.stdout
    assert "to start at" in done.stdout
    done = lab.command("preflight", str(lab.profile(nodes=5)))
    assert done.returncode != 0
    assert "Requested node configuration is not available" in done.stdout


KILLING_SBATCH = """\
#!/bin/sh
{sbatch} "$@"
test "$1" = --test-only || kill -KILL $PPID
"""


def test_a_run_whose_client_was_killed_after_sbatch_knows_its_job_once_that_begins(lab, tmp_path):
    program = tmp_path / "sbatch"
    program.write_text(KILLING_SBATCH.format(sbatch=shutil.which("sbatch")))
    program.chmod(0o755)
    blocker = lab.fill_partition()
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli.app", "start", str(lab.profile(epochs=5000))],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    (root,) = lab.runs.iterdir()
    done = lab.clean()
    assert "its run does not know of it" in " ".join(done.stdout.split()), done.stdout
    lab.slurm.call("scancel", blocker)
    lab.wait_for(root, "checkpoint_saved")
    assert len(lab.events(root, "slurm_queued")) == 1
    assert "running" in lab.command("status", root.name).stdout
    assert "0 found" in lab.clean().stdout
    assert lab.command("stop", root.name).returncode == 0
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    lab.no_job_left(root)
