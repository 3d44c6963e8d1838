"""A training step as MindSpore comes, for benchmarks/train.py to compare with.

python benchmarks/bare_step.py --steps 10            one rank, 32 images
python benchmarks/bare_step.py --steps 10 --ranks 2  two ranks, started here
python benchmarks/bare_step.py --steps 60 --compiled the compiled gradients that effnet uses
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

IMAGES_A_STEP = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    if args.ranks > 1 and "MS_ROLE" not in os.environ:
        start_all(args.ranks)
    else:
        train(args)


def start_all(ranks: int) -> None:
    """The scheduler and the ranks; only rank 0's words are passed on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    common = {
        **os.environ,
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_NUM": str(ranks),
        "MS_NODE_TIMEOUT": "600",
        "MS_TOPO_TIMEOUT": "600",
    }
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "effnet.scheduler"],
        env={**common, "MS_ROLE": "MS_SCHED"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**common, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank), "RANK_ID": str(rank)},
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(ranks)
    ]
    codes = [worker.wait() for worker in workers]
    scheduler.kill()
    scheduler.wait()
    sys.exit(max(map(abs, codes)))


def bare_step(ranks: int = 1, *, compiled: bool) -> Callable[[], float]:
    """One step of B2 over a batch that lies in memory; the call returns its ms.

    The last loss is its attribute `loss`.
    """
    import mindspore as ms
    from mindspore import Tensor, nn, ops

    from effnet.model import create
    from effnet.model.depthwise import use_plain_depthwise

    net = create("b2", 10, dropout=0.3, drop_path=0.2)
    if not compiled:
        use_plain_depthwise(net)
    batch = IMAGES_A_STEP // ranks
    draw = np.random.default_rng(1)
    images = Tensor(draw.standard_normal((batch, 3, 32, 32), np.float32))
    labels = Tensor(draw.integers(0, 10, batch).astype(np.int32))
    noise = Tensor(draw.random((batch, net.noise_width), np.float32))
    weights = net.trainable_params()
    optimizer = nn.RMSProp(weights, 1e-3, decay=0.9, momentum=0.9, epsilon=1e-3)

    def forward(images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        return ops.cross_entropy(net(images, noise), labels, label_smoothing=0.1)

    with_gradients = ms.value_and_grad(forward, None, weights)

    def gradients(images: Tensor, labels: Tensor, noise: Tensor) -> Any:
        return with_gradients(images, labels, noise)

    compute: Callable[..., Any] = ms.jit(gradients) if compiled else gradients
    reduce = nn.DistributedGradReducer(weights, True, ranks) if ranks > 1 else None

    def step() -> float:
        start_s = time.perf_counter()
        loss, found = compute(images, labels, noise)
        optimizer(found if reduce is None else reduce(found))
        step.loss = float(loss.asnumpy())  # type: ignore[attr-defined]
        weights[-1].asnumpy()
        return (time.perf_counter() - start_s) * 1e3

    return step


def train(args: argparse.Namespace) -> None:
    import mindspore as ms
    from mindspore import communication

    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    if args.ranks > 1:
        communication.init()
    step = bare_step(args.ranks, compiled=args.compiled)
    for number in range(args.steps):
        took_ms = step()
        loss = step.loss  # type: ignore[attr-defined]
        print(
            f"epoch: [  0/  1], step:[{number:5d}/{args.steps:5d}], loss:[{loss:.5f}/{loss:.5f}],"
            f" time:[{took_ms:.3f}], images/s:[{IMAGES_A_STEP / took_ms * 1e3:.1f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
