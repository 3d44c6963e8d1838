"""Our loop and a bare compiled MindSpore step in turn, in one process, for benchmarks/train.py.

    python benchmarks/loop_step.py DIGITS --rounds 12

Blocks of `BLOCK` steps alternate: the training loop of `python -m effnet train` as it is (data,
reports, heartbeat, update), then `value_and_grad` compiled and `nn.RMSProp` over one batch that is
in memory. So whatever else the machine does falls on both. The first step of a block is left out:
the caches are the other one's, and the loop's data was prepared meanwhile. Prints medians as JSON;
`cpu_ms` is the process's time on all cores, which means more where the machine is busy.
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
from effnet.contract.heartbeat import Heartbeat
from effnet.distributed.group import Group

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
        self._since_cpu_s = 0.0
        self.loop_ms: list[float] = []
        self.bare_ms: list[float] = []
        self.loop_cpu_ms: list[float] = []
        self.bare_cpu_ms: list[float] = []

    def done(self, step: int, epoch: int) -> None:
        super().done(step, epoch)
        now_s, cpu_s = time.perf_counter(), time.process_time()
        if self._since_s is not None and step % BLOCK != 1:
            self.loop_ms.append((now_s - self._since_s) * 1e3)
            self.loop_cpu_ms.append((cpu_s - self._since_cpu_s) * 1e3)
        if step and step % BLOCK == 0:
            self._bare_block()
        if step == self._steps:
            raise Enough
        self._since_s, self._since_cpu_s = time.perf_counter(), time.process_time()

    def _bare_block(self) -> None:
        self._bare()
        for _ in range(BLOCK - 1):
            cpu_s = time.process_time()
            self.bare_ms.append(self._bare())
            self.bare_cpu_ms.append((time.process_time() - cpu_s) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("digits")
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    device.set_up("CPU")
    from effnet.contract.stop import StopRequest
    from effnet.train.loop import Trainer

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
    found = {
        name: round(statistics.median(getattr(heartbeat, name)[BLOCK:]), 1)
        for name in ("loop_ms", "bare_ms", "loop_cpu_ms", "bare_cpu_ms")
    }
    print(json.dumps({**found, "steps": len(heartbeat.loop_ms) - BLOCK}))


if __name__ == "__main__":
    main()
