"""`srun -n2 python -m effnet train`: the real trainer, without the launcher."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small
from tests.cluster import real
from tests.cluster.lab import ROOT

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]
LIMIT_S = 600
TRAINER = {
    "class_num": 2,
    "image_size": 32,
    "variant": "b0",
    "batch_size": 2,
    "warmup_epochs": 0,
    "report_steps": 1,
    "mode": "pynative",
    "device_target": "CPU",
    "interval": 0,
}


def srun(slurm, folder: Path, epochs: int) -> tuple[subprocess.Popen[bytes], Path]:
    """Two ranks on two nodes, and the file with what they print."""
    out = folder / "out.txt"
    argv = ["srun", "-N2", "-n2", "--label", sys.executable, "-m", "effnet", "train"]
    argv += [f"--{name}={value}" for name, value in TRAINER.items()]
    argv += ["--dataset_path", str(folder / "images"), "--save_checkpoint_path", str(folder)]
    argv += ["--epoch_size", str(epochs), "--resume", "auto"]
    paths = os.pathsep.join((str(small.FOLDER), str(ROOT)))
    with out.open("wb") as file:
        environment = {**os.environ, **slurm.environment, "PYTHONPATH": paths}
        process = subprocess.Popen(
            argv, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT
        )
    return process, out


def test_srun_alone_starts_ranks_that_train_together_and_save_when_slurm_stops_them(slurm):
    before = slurm.processes()
    folder = slurm.shared / "plain"
    real.make_images(folder / "images")
    process, out = srun(slurm, folder, 5000)
    trains = "step:[    1/"
    slurm.until(lambda: trains in out.read_text() or process.poll() is not None, trains, LIMIT_S)
    slurm.call("scancel", "--signal=TERM", slurm.call("squeue", "-h", "-s", "-o", "%i").split()[0])
    assert process.wait(LIMIT_S) == 0, out.read_text()
    said = out.read_text()
    assert set(re.findall(r"start: rank:\[(./2)\]", said)) == {"0/2", "1/2"}
    stops = re.findall(r"stop: epoch:\[\d+\], step:\[(\d+)\], state:\[(\w+)\]", said)
    assert len(stops) == 2, said
    assert len(set(stops)) == 1, said
    epochs = int(stops[0][0]) // 6 + 1
    process, out = srun(slurm, folder, epochs)
    assert process.wait(LIMIT_S) == 0, out.read_text()
    said = out.read_text()
    assert f"step:[{stops[0][0]}]" in said
    ends = re.findall(rf"done: epochs:\[{epochs}\].* state:\[(\w+)\]", said)
    assert len(ends) == 2, said
    assert len(set(ends)) == 1, said
    slurm.until(lambda: slurm.is_as(before), "processes are left")
