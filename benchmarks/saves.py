"""How long training stands still for a checkpoint, and how long writing it takes beside training.

    python benchmarks/saves.py [--saves 40] [--every 10]

Trains B2 with one rank on scikit-learn's digits at 32 px, and reads the trainer's own `checkpoint:`
lines: `time` is the pause (the copy of the state, and the wait for an earlier checkpoint that is
still being written), `write` is until the manifest is on disk.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import head, p95, row

from effnet.data.digits import write_digits

BATCH = 32
STEPS_PER_EPOCH = 1437 // BATCH
LINE = re.compile(r"^checkpoint: .*bytes:\[(\d+)\], time:\[([\d.]+)\], write:\[([\d.]+)\]")
STEP = re.compile(r"^epoch: .*time:\[([\d.]+)\]")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--saves", type=int, default=40)
    parser.add_argument("--every", type=int, default=10, help="steps between two checkpoints")
    given = parser.parse_args()
    epochs = -(-given.saves * given.every // STEPS_PER_EPOCH)
    with tempfile.TemporaryDirectory(prefix="saves-") as name:
        data = write_digits(Path(name) / "digits")
        settings = {
            "variant": "b2", "class_num": 10, "image_size": 32, "eval_resize": 32,
            "batch_size": BATCH, "epoch_size": epochs, "auto_augment": "none",
            "dataset_path": data, "save_checkpoint_path": f"{name}/checkpoint",
            "save_checkpoint_steps": given.every, "keep_checkpoint_max": 2, "report_steps": 1,
        }  # fmt: skip
        argv = [sys.executable, "-m", "effnet", "train"]
        argv += [f"--{key}={value}" for key, value in settings.items()]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=name)
    lines = done.stdout.splitlines()
    saves = [found.groups() for line in lines if (found := LINE.match(line))]
    if done.returncode != 0 or len(saves) < 2:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        return 1
    steps = [float(found[1]) for line in lines if (found := STEP.match(line))]
    size = f"{int(saves[0][0]) / 1e6:.0f} MB"
    print(f"{len(saves)} checkpoints of {size}, one in {given.every} steps:\n")
    head("", "p50", "p95", "most")
    rows = ("pause of training", 1), ("written, beside training", 2)
    for title, place in rows:
        show(title, [float(save[place]) for save in saves])
    show("a step", steps)
    return 0


def show(title: str, values_ms: list[float]) -> None:
    found = (statistics.median(values_ms), p95(values_ms), max(values_ms))
    row(title, *(f"{value:,.1f} ms" for value in found))


if __name__ == "__main__":
    sys.exit(main())
