"""The shipped profile `local-cpu-8p` with a small network: eight real ranks train, stop, resume."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from launcher.core.run.report import parse
from launcher.core.run.report_types import Done, Stopped
from tests import proof, small

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


@pytest.fixture
def images(tmp_path):
    """Ten classes of 2 images: one step of 8 ranks with a batch of 2."""
    random = np.random.default_rng(1)
    for part, count in (("train", 2), ("val", 1)):
        for label in range(10):
            folder = tmp_path / "images" / part / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def states(lab, root, attempt):
    """The last word of each rank: how many steps, and the digest of what it has learned."""
    found = set()
    for rank in range(8):
        last = [parse(line) for line in lab.log(root, rank, attempt).splitlines()]
        found |= {
            (report.steps if isinstance(report, Done) else report.step, report.state)
            for report in last
            if isinstance(report, (Done, Stopped))
        }
    return found


def test_eight_ranks_train_stop_and_resume(lab, images, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(small.FOLDER))
    settings = (
        "--set=variant=b0",
        "--set=mode=pynative",
        "--set=batch_size=2",
        "--set=epoch_size=500",
    )
    argv = ("start", "local-cpu-8p", "--data", str(images), *settings, "--json")
    done = lab.command(*argv, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    root = lab.runs / json.loads(done.stdout)["run"]
    lab.wait_for(root, "checkpoint_saved", timeout_s=600)
    done = lab.command("stop", root.name, "--json", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    stopped = lab.wait_for(root, "attempt_stopped")
    assert stopped["leftover"] == []
    assert len(lab.events(root, "rank_started")) == 8
    lab.nothing_left()
    ((step, state),) = states(lab, root, 1)
    assert (step, state is not None) == (stopped["step"], True)
    assert proof.newest_whole(root / "checkpoint") == step

    argv = ("resume", root.name, "--set", f"epoch_size={step + 1}", "--json")
    done = lab.command(*argv, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.wait_for(root, "attempt_finished", timeout_s=600)["step"] == step + 1
    proof.resumed_from(step, json.loads(done.stdout)["choice"]["step"], lab.events(root), 2)
    ((steps, state),) = states(lab, root, 2)
    assert (steps, state is not None) == (step + 1, True)
    for rank in range(8):
        assert lab.check_metrics(root, rank, attempt=2) == [step]
