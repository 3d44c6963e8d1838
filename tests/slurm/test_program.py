"""A training script of any kind under Slurm: its variables, a requeue, its end."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from launcher import client
from tests.slurm.lab import AGAIN_S

SCRIPT = Path(__file__).parents[1] / "programs/loss_monitor.py"
PROGRAM = """
[program]
command = {command}
rank_variables = "torch"
checkpoints = "{made}/*.ckpt"
"""


@pytest.fixture
def made(lab):
    """What the script writes."""
    folder = lab.slurm.shared / "made"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def start(lab, made, *words):
    path = lab.profile(auto_resume=1)
    text = re.sub(r"\[trainer\]\nepoch_size.*\n|data_path.*\n", "", path.read_text())
    command = [sys.executable, str(SCRIPT), str(made), *words]
    path.write_text(text + PROGRAM.format(command=json.dumps(command), made=made))
    return lab.runs / client.start(str(path), client.StartRequest(preflight=False))


def first_line(lab, root, attempt, rank=3):
    """What the rank was started with."""
    log = root / f"attempts/{attempt:03d}/ranks/{rank:04d}/log.txt"
    lab.until(lambda: log.exists() and "\n" in log.read_text(), AGAIN_S)
    return log.read_text().splitlines()[0]


def test_a_script_continues_after_a_time_limit_and_can_be_stopped_and_resumed(lab, made):
    root = start(lab, made, "epochs=1000", "pause=0.05", "save")
    lab.until(lambda: (made / "epoch-2.ckpt").exists())
    # The ranks do not wait for each other: each has come as far as its handler of SIGTERM.
    for rank in range(4):
        first_line(lab, root, 1, rank)
    lab.slurm.call("scancel", "--batch", "--signal=USR1", lab.job(root))
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    queued = lab.wait_for(root, "slurm_queued", count=2)
    assert queued["why"] == "it reached its time limit"
    # Each rank had time to save.
    assert len(list(made.glob("stopped-*"))) == 4
    began_s = lab.wait_for(root, "attempt_started", count=2, timeout_s=AGAIN_S)["t"]
    # Slurm may have started it again already, and it may have saved.
    count = sum(path.stat().st_mtime < began_s for path in made.glob("epoch-*"))
    assert f"from {made}/epoch-{count}.ckpt" in first_line(lab, root, 2)
    lab.until(lambda: (made / f"epoch-{count + 2}.ckpt").exists())
    assert lab.command("stop", root.name).returncode == 0
    assert lab.end_of(root, attempt=2)["kind"] == "attempt_stopped"
    lab.no_job_left(root)
    count = len(list(made.glob("epoch-*")))
    done = lab.command("resume", root.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from {made}/epoch-{count}.ckpt" in first_line(lab, root, 3)
    client.stop(root)
    assert lab.end_of(root, attempt=3)["kind"] == "attempt_stopped"
    lab.no_job_left(root)


def test_a_script_continues_after_a_requeue(lab, made):
    root = start(lab, made, "epochs=1000", "pause=0.05")
    lab.until(lambda: (made / "epoch-2.ckpt").exists())
    lab.slurm.call("scontrol", "requeue", lab.job(root))
    head = first_line(lab, root, 2)
    for part in ("'RANK': '3'", "'WORLD_SIZE': '4'", "'LOCAL_RANK': '1'", f"from {made}/epoch-"):
        assert part in head
    # A rank's first line may be there before its node has said that it started.
    lab.until(lambda: len(lab.nodes(root, 2)) == 4)
    nodes = list(lab.nodes(root, 2).values())
    assert sorted(map(nodes.count, set(nodes))) == [2, 2], nodes
    client.stop(root)
    assert lab.end_of(root, attempt=2)["kind"] == "attempt_stopped"
    lab.no_job_left(root)
