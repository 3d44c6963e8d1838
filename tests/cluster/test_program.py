"""A training script of any kind on two nodes over SSH: death, resume, stop."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from launcher import client
from launcher.store import run_lock

SCRIPT = Path(__file__).parents[1] / "programs/loss_monitor.py"
PROGRAM = """
[program]
command = {command}
rank_variables = "torch"
checkpoints = "{made}/*.ckpt"
"""


@pytest.fixture
def made(shared: str) -> Path:
    """Where the script saves."""
    return Path(shared)


def test_a_script_on_two_nodes_dies_resumes_and_stops(lab, made):
    path = lab.profile()
    ours = r"\[trainer\]\nepoch_size.*\n|\[checkpoint\]\n(\w+ = .*\n)*|data_path.*\n"
    text = re.sub(ours, "", path.read_text())
    command = [sys.executable, str(SCRIPT), str(made), "epochs=5000"]
    path.write_text(text + PROGRAM.format(command=json.dumps(command), made=made))
    root = lab.runs / client.start(str(path), client.StartRequest(preflight=False))
    lab.until(lambda: list(made.glob("epoch-3.ckpt")))
    os.kill(lab.rank_pid(root, 2), signal.SIGKILL)
    failed = lab.wait_for(root, "attempt_failed")["failure"]
    assert (failed["rank"], failed["node"], failed["signal"]) == (2, "beta", signal.SIGKILL)
    # Until then rank 0 may still save.
    lab.until(lambda: not run_lock.is_supervised(root))
    newest = max(made.glob("*.ckpt"), key=lambda file: int(file.stem.partition("-")[2]))
    assert client.resume_choice(str(root)).path == str(newest)

    client.resume(str(root), client.ResumeRequest(preflight=False))
    lab.wait_for(root, "training_started", count=2)
    copy = root / "attempts/002/ranks/0003/log.txt"
    lab.until(lambda: copy.exists() and b"loss is" in copy.read_bytes())
    head = copy.read_text().splitlines()[0]
    for part in ("'RANK': '3'", "'WORLD_SIZE': '4'", "'LOCAL_RANK': '1'", f"from {newest} "):
        assert part in head
    snapshot = client.open_run(str(root)).poll()
    assert [rank.node for rank in snapshot.ranks] == ["alpha", "alpha", "beta", "beta"]
    client.stop(str(root))
    lab.wait_for(root, "attempt_stopped")
