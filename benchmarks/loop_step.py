"""Our loop and a bare compiled MindSpore step in turn, in one process, for benchmarks/train.py.

    python benchmarks/loop_step.py DIGITS --rounds 12

Blocks of `BLOCK` steps alternate, so that other load on the machine slows both: the training loop
of `python -m effnet train` (data, reports, heartbeat, update), and a compiled `value_and_grad` with
`nn.RMSProp` on one batch in memory. The first step of a block does not count: the caches hold the
other's data, and the loop's next batches are ready. Prints medians as JSON; `cpu_ms` is the
process's time on all cores, the better measure on a busy machine.
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
from typing import Any

import numpy as np

from effnet import config, device
from effnet.contract.reporter import Heartbeat
from effnet.distributed.group import Group

BLOCK = 6
BATCH_SIZE = 32


class Enough(Exception):
    """All rounds are done."""


class InTurn(Heartbeat):
    """A heartbeat that runs a block of bare steps after each block of the loop."""

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


def bare_step() -> Callable[[], float]:
    """One step of B2 on a batch in memory; the call returns its time in ms."""
    import mindspore as ms
    from mindspore import Tensor, nn, ops

    from effnet.evaluate.depthwise import choose
    from effnet.model.efficientnet import EfficientNet

    net = EfficientNet("b2", 10, dropout=0.3, drop_path=0.2)
    # The loop's kernels: what is compared is all that is around them.
    choose(config.resolve(sets=["device_target=CPU"]).config, Group()).apply(net)
    draw = np.random.default_rng(1)
    images = Tensor(draw.standard_normal((BATCH_SIZE, 3, 32, 32), np.float32))
    labels = Tensor(draw.integers(0, 10, BATCH_SIZE).astype(np.int32))
    noise = Tensor(draw.random((BATCH_SIZE, net.noise_width), np.float32))
    weights = net.trainable_params()
    optimizer = nn.RMSProp(weights, 1e-3, decay=0.9, momentum=0.9, epsilon=1e-3)

    def forward(images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        return ops.cross_entropy(net(images, noise), labels, label_smoothing=0.1)

    with_gradients = ms.value_and_grad(forward, None, weights)

    def gradients(images: Tensor, labels: Tensor, noise: Tensor) -> Any:
        return with_gradients(images, labels, noise)

    compute: Callable[..., Any] = ms.jit(gradients)

    def step() -> float:
        start_s = time.perf_counter()
        loss, found = compute(images, labels, noise)
        optimizer(found)
        loss.asnumpy()
        weights[-1].asnumpy()
        return (time.perf_counter() - start_s) * 1e3

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("digits")
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    device.set_up("CPU")
    from effnet.contract.reporter import StopRequest
    from effnet.train.loop import Trainer

    with tempfile.TemporaryDirectory() as folder:
        bare = bare_step()
        bare()
        keys = {
            "class_num": 10,
            "image_size": 32,
            "batch_size": BATCH_SIZE,
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
