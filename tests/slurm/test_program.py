"""A training script of any kind under Slurm: its variables, a requeue, its end."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from launcher import client

SCRIPT = Path(__file__).parents[1] / "programs/loss_monitor.py"
PROGRAM = """
[program]
command = {command}
rank_variables = "torch"
checkpoints = "{made}/*.ckpt"
"""


def test_a_script_continues_after_a_requeue(lab):
    made = lab.slurm.shared / "made"
    made.mkdir(exist_ok=True)
    path = lab.profile(auto_resume=1)
    text = re.sub(r"\[trainer\]\nepoch_size.*\n|data_path.*\n", "", path.read_text())
    command = [sys.executable, str(SCRIPT), str(made), "epochs=20", "pause=0.1"]
    path.write_text(text + PROGRAM.format(command=json.dumps(command), made=made))
    root = lab.runs / client.start(str(path), client.StartRequest(preflight=False))
    lab.until(lambda: (made / "epoch-2.ckpt").exists())
    lab.slurm.call("scontrol", "requeue", lab.job(root))
    assert lab.end_of(root, attempt=2)["kind"] == "attempt_finished"
    head = (root / "attempts/002/ranks/0003/log.txt").read_text().splitlines()[0]
    for part in ("'RANK': '3'", "'WORLD_SIZE': '4'", "'LOCAL_RANK': '1'", f"from {made}/epoch-"):
        assert part in head
    assert sorted(lab.nodes(root, 2).values()) == ["n1", "n1", "n2", "n2"]
    lab.no_job_left(root)
