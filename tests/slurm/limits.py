"""Real MindSpore over time limits ends with the weights of a run that nothing interrupted.

    python -m tests.slurm.limits --count 3 [--minutes 1]

`count` times the run gets the signal that Slurm sends ahead of a time limit. With `minutes` Slurm
itself sends it: the limit is that long, and the run reaches at least `count` of them. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests import kept_cache, small
from tests.cluster import real
from tests.slurm.lab import SlurmLab, slurm_lab
from tests.slurm.scheduler import slurm_on

PROFILE = """\
name = "real"
device_target = "CPU"
start_method = "slurm"
data_path = {data}

[node_defaults]
slots = 1

[slurm]
nodes = 2
time_limit = "{time_limit}"
signal_s = 30

[environment]
PYTHONPATH = {python_path}
XDG_CACHE_HOME = {cache}

"""
PROFILE += real.TRAINER
PROFILE += """\
save_checkpoint_epochs = 1000
mode = "pynative"
"""
LIMIT_S = 600.0


def start(lab: SlurmLab, images: Path, epochs: int, minutes: int = 0) -> Path:
    from launcher import client

    profile = lab.folder / "real.toml"
    profile.write_text(
        PROFILE.format(
            data=json.dumps(str(images)),
            python_path=json.dumps(str(small.FOLDER)),
            cache=json.dumps(str(kept_cache.FOLDER)),
            epochs=epochs,
            time_limit=f"{minutes}:00" if minutes else "",
        )
    )
    request = client.StartRequest(preflight=False)
    return lab.runs / client.start(str(profile), request)


def interrupted(lab: SlurmLab, images: Path, epochs: int, count: int, minutes: int = 0) -> Path:
    """A run over `count` time limits; with `minutes`, over as many as it reaches."""
    root = start(lab, images, epochs, minutes)
    attempt = 1
    while attempt <= count or minutes:
        lab.wait_for(root, "training_started", count=attempt, timeout_s=LIMIT_S)
        if not minutes:
            # It stands still, so that it has not finished before the signal is there.
            rank = lab.rank_pid(root, 1, attempt)
            os.kill(rank, signal.SIGSTOP)
            lab.slurm.call("scancel", "--batch", "--signal=USR1", lab.job(root))
            lab.wait_for(root, "stop_requested", count=attempt)
            os.kill(rank, signal.SIGCONT)
        stopped = lab.end_of(root, LIMIT_S, attempt)
        if minutes and stopped["kind"] == "attempt_finished":
            break
        assert stopped["kind"] == "attempt_stopped", stopped
        begun = lab.wait_for(root, "attempt_started", count=attempt + 1, timeout_s=LIMIT_S)
        assert begun["resume"]["step"] == stopped["step"], begun
        attempt += 1
    assert attempt > count, f"only {attempt - 1} limits: more epochs are needed"
    finished = lab.end_of(root, LIMIT_S, attempt)
    assert finished["kind"] == "attempt_finished", finished
    assert len({event["job"] for event in lab.events(root, "slurm_queued")}) == 1
    return root


def same_weights(whole: Path, pieces: Path, attempts: int) -> int:
    """All tensors of the last checkpoints have the same bits -> how many tensors."""
    from effnet.weights.files import read_tensors

    states = {*real.states(whole, 2), *real.states(pieces, 2, attempts)}
    assert len(states) == 1, states
    expected, found = (
        read_tensors(max((root / "checkpoint").glob("step-*.ckpt"))) for root in (whole, pieces)
    )
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert np.array_equal(values.view(np.uint8), found[name].view(np.uint8)), name
    return len(expected)


def main(argv: list[str] | None = None) -> int:
    from tests.cluster.hosts import cluster

    parser = argparse.ArgumentParser(prog="tests.slurm.limits")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--minutes", type=int, default=0)
    arguments = parser.parse_args(argv)
    with cluster("n1", "n2") as hosts, slurm_on(hosts) as slurm:
        os.environ.update(slurm.environment)
        with slurm_lab(slurm) as lab:
            images, began_s = real.make_images(slurm.shared / "images"), time.monotonic()
            count, epochs = arguments.count, arguments.epochs
            pieces = interrupted(lab, images, epochs, count, arguments.minutes)
            ends = lab.events(pieces, "attempt_stopped", "attempt_finished")
            whole = start(lab, images, epochs)
            assert lab.end_of(whole, LIMIT_S)["kind"] == "attempt_finished"
            tensors = same_weights(whole, pieces, len(ends))
            steps = ", ".join(str(event["step"]) for event in ends)
            print(f"{len(ends) - 1} limits, attempts ended at {steps}: {tensors} tensors are equal")
            print(f"{time.monotonic() - began_s:.0f} s")
            shutil.rmtree(images)
    return 0


if __name__ == "__main__":
    sys.exit(main())
