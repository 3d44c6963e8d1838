"""Our loop and a bare compiled MindSpore step in turn, in one process, for benchmarks/train.py.

    python benchmarks/loop_step.py DIGITS --rounds 12

Blocks of `BLOCK` steps alternate: the training loop of `python -m effnet train` as it is (data,
reports, heartbeat, update), then `value_and_grad` compiled and `nn.RMSProp` over one batch that is
in memory. So whatever else the machine does falls on both. The first step of a block is left out:
the caches are the other one's, and the loop's data was prepared meanwhile. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bare_step import bare_step

from effnet import config, device
from effnet.train.group import Group
from effnet.train.heartbeat import Heartbeat

BLOCK = 6


class Enough(Exception):
    """All rounds are done."""


class InTurn(Heartbeat):
    """A heartbeat that, each time the loop has done a block, lets the bare step have its turn."""

    def __init__(self, path: str, bare: Callable[[], float], rounds: int) -> None:
        super().__init__(path)
        self._bare = bare
        self._steps = rounds * BLOCK
        self._since_s: float | None = None
        self.loop_ms: list[float] = []
        self.bare_ms: list[float] = []

    def done(self, step: int, epoch: int) -> None:
        super().done(step, epoch)
        now_s = time.perf_counter()
        if self._since_s is not None and step % BLOCK != 1:
            self.loop_ms.append((now_s - self._since_s) * 1e3)
        if step and step % BLOCK == 0:
            self.bare_ms += [self._bare() for _ in range(BLOCK)][1:]
        if step == self._steps:
            raise Enough
        self._since_s = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("digits")
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    device.set_up("CPU")
    from effnet.train.loop import Trainer
    from effnet.train.stop import StopRequest

    with tempfile.TemporaryDirectory() as folder:
        bare = bare_step(compiled=True)
        bare()
        keys = {
            "class_num": 10,
            "image_size": 32,
            "batch_size": 32,
            "interval": 0,
            "save_checkpoint": False,
            "auto_augment": "none",
            "color_jitter": 0,
            "hflip": 0,
            "dataset_path": args.digits,
            "epoch_size": args.rounds * BLOCK,
        }
        heartbeat = InTurn(str(Path(folder, "heartbeat")), bare, args.rounds)
        settings = [f"{key}={value}" for key, value in keys.items()]
        # Reports go where a run's go, to a file.
        with Path(folder, "log").open("w") as log, contextlib.redirect_stdout(log):
            trainer = Trainer(config.resolve(sets=settings).config, Group(), heartbeat)
            with contextlib.suppress(Enough):
                trainer.run(StopRequest())
    # Compiling, and the block after it.
    loop_ms = statistics.median(heartbeat.loop_ms[BLOCK:])
    bare_ms = statistics.median(heartbeat.bare_ms[BLOCK:])
    steps = len(heartbeat.loop_ms) - BLOCK
    print(json.dumps({"loop_ms": loop_ms, "bare_ms": bare_ms, "steps": steps}))


if __name__ == "__main__":
    main()
