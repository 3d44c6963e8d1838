"""SIGKILL at random moments of a save in the background: a checkpoint is whole or does not exist.

    python -m tests.effnet.save_kills [--count 200] [--seed 1] [--mb 32]

A child saves one state after the other, each of one number only, and changes the numbers as soon as
`Saver.save` returns, as training does. After it was killed, every checkpoint that has a manifest is
read: its bytes are the manifest's, and all its numbers are those of its step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np

from effnet.train.checkpoint import CheckpointFolder
from effnet.train.saver import Saver
from effnet.weights.files import read_tensors
from effnet.weights.manifest import manifest_path

NETWORK = {"variant": "b0", "padding": "same", "num_classes": 2, "bn_eps": 1e-3}
TENSORS = 8


def save_on(folder: Path, size: int) -> NoReturn:
    """The child: saves steps 1, 2, ... until it is killed."""
    saver = Saver(CheckpointFolder(folder, keep=2), lambda saved: None)
    tensors = {f"t{number}": np.zeros(size // TENSORS, np.float32) for number in range(TENSORS)}
    step = 0
    while True:
        step += 1
        for tensor in tensors.values():
            tensor[...] = step
        saver.save(tensors, step=step, steps_per_epoch=10, network=NETWORK, extra={})


def verdict(folder: Path) -> str:
    """Of what a killed child left: ``whole``, ``none``, or what is wrong."""
    checkpoints = CheckpointFolder(folder, keep=2).present()
    for path in checkpoints:
        manifest = json.loads(manifest_path(path).read_text())
        if hashlib.sha256(path.read_bytes()).hexdigest() != manifest["sha256"]:
            return f"{path.name} is not what its manifest describes"
        numbers = {float(n) for t in read_tensors(path).values() for n in np.unique(t)}
        if numbers != {float(manifest["step"])}:
            return f"{path.name} has numbers of the steps {sorted(numbers)}"
    return "whole" if checkpoints else "none"


def kill(chance: random.Random, size: int) -> str:
    """One child and its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if child == 0:
            try:
                save_on(folder, size)
            finally:
                os._exit(1)
        # From before the first checkpoint to a few later.
        wanted, deadline = chance.randrange(4), time.monotonic() + 60
        while _newest(folder) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            return "the child ended by itself"
        return verdict(folder)


def _newest(folder: Path) -> int:
    present = CheckpointFolder(folder, keep=2).present()
    return int(present[0].stem.rpartition("-")[2]) if present else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mb", type=int, default=32, help="size of the state")
    given = parser.parse_args()
    import mindspore  # noqa: F401 once, before the children are forked

    chance = random.Random(given.seed)
    found = Counter(kill(chance, given.mb * 250_000) for _ in range(given.count))
    for words, count in found.most_common():
        print(f"{count} of {given.count}: {words}")
    raise SystemExit(0 if set(found) <= {"whole", "none"} else 1)


if __name__ == "__main__":
    main()
