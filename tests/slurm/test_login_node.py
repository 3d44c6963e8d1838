"""A run that is delegated to the login node: this machine has no Slurm, only a copy of the run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from launcher import client
from launcher.core.run.state import RunStatus
from launcher.store import run_lock
from tests.job_runner import kill_runner
from tests.slurm.lab import SlurmLab

LOGIN = """\
[slurm.login_node]
name = "login"
address = "{address}"
python = "{python}"
runs_directory = "{runs}"

[trainer]"""


class Delegating:
    """n1 is the login node, too: what a person has there by a login shell is in its `python`."""

    def __init__(self, lab: SlurmLab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        shared, self.here = lab.slurm.shared, folder / "runs"
        self.there = shared / "runs"
        python = shared / "login/python"
        python.write_text(
            f"#!/bin/sh\nexport SLURM_CONF={shared}/nodes/slurm.conf XDG_STATE_HOME={shared}/home\n"
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        self.login = LOGIN.format(address=lab.slurm["n1"].address, python=python, runs=self.there)
        for name, value in {
            "EFFNET_RUNS_DIR": str(self.here),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "HOME": str(lab.slurm.hosts.home),
            "SLURM_CONF": "/none",
        }.items():
            monkeypatch.setenv(name, value)

    def profile(self, **changes: object) -> str:
        path = self.lab.profile(**changes)
        path.write_text(path.read_text().replace("[trainer]", self.login, 1))
        return str(path)

    def start(self, **changes: object) -> Path:
        """The copy of a new run."""
        done = self.lab.command("start", self.profile(**changes), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return self.here / json.loads(done.stdout)["run"]

    def said(self, *arguments: str) -> str:
        done = self.lab.command(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.replace("\n", " ")


@pytest.fixture
def delegating(lab: SlurmLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Delegating:
    return Delegating(lab, tmp_path, monkeypatch)


def test_a_run_trains_stops_and_resumes_from_a_machine_without_slurm(
    delegating: Delegating,
) -> None:
    lab = delegating.lab
    root = delegating.start(epochs=5000)
    lab.wait_for(root, "checkpoint_saved")
    assert "running" in delegating.said("status", root.name)
    log = root / "attempts/001/ranks/0003/log.txt"
    lab.until(lambda: log.exists() and b"plain" in log.read_bytes())
    assert "plain" in delegating.said("logs", root.name, "--rank", "3", "-n", "4")
    assert (delegating.there / root.name / "run.json").is_file()
    delegating.said("stop", root.name)
    stopped = lab.end_of(root)
    assert stopped["kind"] == "attempt_stopped"
    lab.until(lambda: not run_lock.is_supervised(root))
    epochs = stopped["step"] // 10 + 2
    assert f"step {stopped['step']}" in delegating.said(
        "resume", root.name, "--set", f"epoch_size={epochs}"
    )
    assert lab.end_of(root, attempt=2)["kind"] == "attempt_finished"
    lab.until(lambda: not run_lock.is_supervised(root))
    assert lab.steps(root, 3, attempt=2)[-1] == epochs * 10 - 1
    assert client.open_run(root).poll().status is RunStatus.FINISHED
    delegating.said("prune", "--run", root.name, "--yes")
    assert not (delegating.there / root.name).exists()


def test_a_job_from_here_computes_on_a_node_of_the_cluster(delegating: Delegating) -> None:
    lab = delegating.lab
    root = delegating.start(epochs=1)
    assert lab.end_of(root)["kind"] == "attempt_finished"
    blocker = lab.fill_partition()
    done = lab.command("eval", root.name, "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    lab.until(lambda: "free nodes" in delegating.said("status", root.name))
    lab.slurm.call("scancel", blocker)
    assert lab.wait_for(root, "job_finished")["result"]["top_1_acc"] == 0.9
    assert lab.events(root, "job_started")[0]["node"] in ("n1", "n2", "n3")


def test_a_job_is_followed_again_where_all_that_followed_it_died(delegating: Delegating) -> None:
    """The process here that copies the run, and on the login node the job's own follower."""
    lab = delegating.lab
    root = delegating.start(epochs=1)
    assert lab.end_of(root)["kind"] == "attempt_finished"
    blocker = lab.fill_partition()
    lab.command("eval", root.name, "--detach")
    lab.until(lambda: "free nodes" in delegating.said("status", root.name))
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    assert "001-eval: lost: nothing updates this copy" in delegating.said("status", root.name)
    there = delegating.there / root.name / "jobs/001-eval"
    pid = json.loads((there / "job.json").read_text())["pid"]
    kill_runner(there, lab.slurm["n1"].outside_pid(pid))
    lab.slurm.call("scancel", blocker)
    delegating.said("attach", root.name)
    assert lab.wait_for(root, "job_finished")["result"]["top_1_acc"] == 0.9
    assert "lost" not in delegating.said("status", root.name)


def test_a_run_that_waits_says_why_here_and_is_cancelled_from_here(
    delegating: Delegating, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = delegating.lab
    blocker = lab.fill_partition()
    root = delegating.start()
    job = lab.job(root)
    lab.until(lambda: "free nodes" in delegating.said("status", root.name))
    shown = delegating.said("status", root.name)
    assert "pending" in shown
    assert f"job {job} waits in the queue" in shown
    assert "pending" in delegating.said("runs")
    # What Slurm said last is not shown once nobody asks it any more.
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    shown = delegating.said("status", root.name)
    assert "waits in the queue" not in shown
    assert "nothing updates this copy of the run" in shown
    assert "nothing updates this copy of the run" in delegating.said("runs")
    client.connect(root)
    lab.until(lambda: "waits in the queue" in delegating.said("status", root.name))
    refused = lab.command("stacks", root.name)
    assert refused.returncode != 0
    assert "no rank runs" in refused.stderr.replace("\n", " ")
    assert lab.slurm.job_state(job) == "PENDING"
    delegating.said("stop", root.name)
    lab.until(lambda: "cancelled in the queue by" in delegating.said("status", root.name))
    assert lab.slurm.job_state(job) == "CANCELLED"
    lab.slurm.call("scancel", blocker)


def test_a_run_is_stopped_from_here_while_slurmctld_does_not_answer(delegating: Delegating) -> None:
    lab = delegating.lab
    root = delegating.start(epochs=5000)
    lab.wait_for(root, "training_started")
    lab.slurm.kill_slurmctld(lab.job(root))
    lab.until(lambda: "Slurm does not answer" in delegating.said("status", root.name))
    delegating.said("stop", root.name)
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    lab.slurm.power_on()


def test_a_stop_from_here_is_answered_where_the_supervisor_hangs(delegating: Delegating) -> None:
    """Its job is cancelled, before this machine has waited for the answer in vain."""
    lab = delegating.lab
    root = delegating.start(epochs=5000)
    lab.wait_for(root, "training_started")
    pid = lab.events(root, "supervisor_started")[-1]["pid"]
    node = lab.nodes(root)[0]
    lab.slurm[node].run("kill", "-STOP", str(pid))
    done = lab.command("stop", root.name)
    shown = done.stderr.replace("\n", " ")
    assert f"its job {lab.job(root)} was cancelled" in shown, done.stdout + done.stderr
    # Slurm continues a stopped process before it ends it.
    assert lab.end_of(root)["kind"] in ("attempt_stopped", "attempt_failed")


def test_plan_preflight_and_doctor_ask_the_login_node(delegating: Delegating) -> None:
    plan = delegating.said("plan", delegating.profile(time_limit="1:00:00"))
    assert "#SBATCH --time=1:00:00" in plan
    assert str(delegating.there) in plan
    found = delegating.said("preflight", delegating.profile())
    assert "partition train: up, 3 nodes" in found
    assert "this node asked Slurm" in found
    rows = json.loads(delegating.lab.command("doctor", delegating.profile(), "--json").stdout)
    assert ["python", "n1"] in [[row["check"], row["node"]] for row in rows["rows"]]


def test_a_login_node_that_is_off_is_named(delegating: Delegating) -> None:
    delegating.lab.slurm["n1"].kill_sshd()
    done = delegating.lab.command("preflight", delegating.profile())
    assert done.returncode != 0
    assert "login was not reached" in done.stdout.replace("\n", " ")
    done = delegating.lab.command("start", delegating.profile())
    assert done.returncode != 0
    assert "login" in done.stdout + done.stderr
    assert not any(delegating.here.glob("*"))


def test_clean_asks_the_login_node_for_jobs_that_no_run_knows_of(delegating: Delegating) -> None:
    lab = delegating.lab
    blocker = lab.fill_partition()
    root = delegating.start()
    job = lab.job(root)
    # On the login node only: tests beside this one have leftovers here, and earlier ones had there.
    delegating.said("clean", "--yes", "--node", "login")
    assert "0 found" in delegating.said("clean", "--node", "login")
    shutil.rmtree(delegating.there / root.name)
    delegating.said("prune", "--run", root.name, "--here", "--yes")
    home = Path(os.environ["XDG_CONFIG_HOME"]) / "effnet-tui/profiles"
    home.mkdir(parents=True)
    shutil.copy(delegating.profile(), home)
    found = lab.command("clean", "--json")
    assert json.loads(found.stdout)["others"]["login"][0].startswith(
        f"job {job} waits in the queue"
    )
    assert lab.slurm.job_state(job) == "PENDING"
    assert "1 found, 0 left" in delegating.said("clean", "--yes", "--node", "login")
    assert lab.slurm.job_state(job) == "CANCELLED"
    assert lab.slurm.job_state(blocker) == "RUNNING"
    lab.slurm.call("scancel", blocker)
