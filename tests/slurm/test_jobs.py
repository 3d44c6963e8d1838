"""Evaluation, export and inference of a run of Slurm: jobs of Slurm themselves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil

from launcher import client
from tests.cluster.lab import LIMIT_S
from tests.job_runner import kill_runner


def finished(lab):
    root = lab.start(epochs=1)
    assert lab.end_of(root)["kind"] == "attempt_finished"
    lab.no_job_left(root)
    return root


def with_options(root, **changes):
    """The run as if its profile had had these keys of [slurm]."""
    path = root / "profile.json"
    text = json.loads(path.read_text())
    text["slurm"] |= changes
    path.write_text(json.dumps(text))


def test_a_job_computes_on_a_node_beside_the_training_and_leaves_nothing(lab):
    root = lab.start(epochs=5000, eval_s=0.2)
    lab.wait_for(root, "checkpoint_saved")
    done = lab.command("eval", root.name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"]["top_1_acc"] == 0.9
    (started,) = lab.events(root, "job_started")
    assert started["node"] == "n3"
    assert lab.events(root, "eval_finished")[0]["job"] == "001-eval"
    assert client.open_run(root).poll().state.skipped == 0
    client.stop(root)
    lab.no_job_left(root)


def test_a_job_says_why_it_waits_and_stop_cancels_it(lab):
    root = finished(lab)
    blocker = lab.fill_partition()
    done = lab.command("eval", root.name, "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    lab.until(lambda: "free nodes" in lab.command("status", root.name).stdout)
    queued = lab.events(root, "job_queued")[-1]
    assert lab.slurm.job_state(queued["slurm_job"]) == "PENDING"
    done = lab.command("stop", root.name, "--job", "001-eval")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.wait_for(root, "job_finished")["exit_code"] == 143
    assert lab.slurm.job_state(queued["slurm_job"]) == "CANCELLED"
    assert not lab.events(root, "job_started")
    lab.slurm.call("scancel", blocker)


SLOW_SBATCH = """\
#!/bin/sh
touch {folder}/pid-$$
kill -STOP $$
exec {sbatch} "$@"
"""


def test_ctrl_c_while_sbatch_submits_waits_for_its_answer(lab, tmp_path):
    root = finished(lab)
    program = tmp_path / "sbatch"
    program.write_text(SLOW_SBATCH.format(folder=tmp_path, sbatch=shutil.which("sbatch")))
    program.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher.cli.app", "eval", root.name],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        lab.until(lambda: any(tmp_path.glob("pid-*")))
        sbatch = psutil.Process(int(next(tmp_path.glob("pid-*")).name.partition("-")[2]))
        lab.until(lambda: sbatch.status() == psutil.STATUS_STOPPED)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        sbatch.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert "job 001-eval continues" in output
    assert lab.wait_for(root, "job_finished")["exit_code"] == 0


def test_a_job_that_cannot_be_cancelled_is_cancelled_once_slurm_answers(lab):
    root = finished(lab)
    blocker = lab.fill_partition()
    lab.command("eval", root.name, "--detach")
    lab.until(lambda: "free nodes" in lab.command("status", root.name).stdout)
    lab.slurm.kill_slurmctld(blocker)
    kill_runner(root / "jobs/001-eval")
    done = lab.command("stop", root.name, "--job", "001-eval")
    shown = done.stderr.replace("\n", " ")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "001-eval is cancelled as soon as Slurm answers" in shown
    lab.until(lambda: "Slurm does not answer" in lab.command("status", root.name).stdout)
    lab.slurm.power_on()
    assert lab.wait_for(root, "job_finished")["exit_code"] == 143
    lab.slurm.call("scancel", blocker)


def test_a_job_that_computes_can_be_stopped_and_cancelled(lab):
    root = lab.start(epochs=1, eval_s=3000)
    lab.end_of(root)
    for number, how in enumerate(("stop", "scancel"), 1):
        lab.command("eval", root.name, "--detach")
        lab.wait_for(root, "job_started", count=number)
        if how == "stop":
            assert lab.command("stop", root.name, "--job", f"00{number}-eval").returncode == 0
        else:
            lab.slurm.call("scancel", lab.events(root, "job_queued")[-1]["slurm_job"])
        assert lab.wait_for(root, "job_finished", count=number)["exit_code"] != 0
        lab.until(lambda: not lab.slurm.call("squeue", "-h"))
        lab.nothing_left()


def test_what_slurm_refuses_is_said_and_leaves_no_job(lab):
    root = finished(lab)
    with_options(root, partition="none")
    done = lab.command("eval", root.name)
    assert "Invalid partition name specified" in done.stderr, done.stdout + done.stderr
    assert (done.returncode, list((root / "jobs").iterdir())) == (1, [])
    with_options(root, jobs="login")
    assert lab.command("eval", root.name).returncode == 0
    assert not lab.events(root, "job_queued")


def test_a_job_that_slurm_ends_says_why(lab):
    root = lab.start(epochs=1, eval_s=3000)
    lab.end_of(root)
    lab.command("eval", root.name, "--detach")
    node = lab.wait_for(root, "job_started")["node"]
    lab.slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert lab.wait_for(root, "job_finished")["exit_code"] in (None, 143)
    assert (
        "ended because a node failed" in lab.command("logs", root.name, "--job", "001-eval").stdout
    )


def test_a_job_whose_follower_died_is_lost_until_it_is_followed_again(lab):
    root = finished(lab)
    blocker = lab.fill_partition()
    lab.command("eval", root.name, "--detach")
    lab.until(lambda: "free nodes" in lab.command("status", root.name).stdout)
    kill_runner(root / "jobs/001-eval")
    lost = "001-eval: lost: nothing follows it any more; job "
    lab.until(lambda: lost in lab.command("status", root.name).stdout.replace("\n", " "))
    shown = lab.command("status", root.name).stdout.replace("\n", " ")
    assert f"effnet-launch attach {root.name}" in shown
    done = lab.command("attach", root.name)
    assert "001-eval: nothing followed it" in done.stderr.replace("\n", " "), done.stderr
    assert "lost" not in lab.command("status", root.name).stdout
    lab.slurm.call("scancel", blocker)
    assert lab.wait_for(root, "job_finished")["result"]["top_1_acc"] == 0.9


def test_the_result_of_a_job_that_nobody_followed_is_found(lab):
    root = finished(lab)
    blocker = lab.fill_partition()
    lab.command("eval", root.name, "--detach")
    lab.wait_for(root, "job_queued")
    kill_runner(root / "jobs/001-eval")
    lab.slurm.call("scancel", blocker)
    number = json.loads((root / "jobs/001-eval/job.json").read_text())["slurm"]
    lab.until(lambda: lab.slurm.job_state(number) in ("", "COMPLETED"))
    gone = f"job {number} is not in Slurm's queue any more"
    lab.until(lambda: gone in lab.command("status", root.name).stdout.replace("\n", " "))
    assert client.follow_jobs(root) == ("001-eval",)
    assert lab.wait_for(root, "job_finished")["result"]["top_1_acc"] == 0.9
    assert client.follow_jobs(root) == ()
    assert client.open_run(root).poll().state.skipped == 0
