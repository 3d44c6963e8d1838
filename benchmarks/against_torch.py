"""Training steps of this project and of PyTorch in turn, for `benchmarks/train.py --against torch`.

    python benchmarks/against_torch.py --sizes 32,260 --rounds 4
    python benchmarks/against_torch.py --sizes 32 --ranks 2

Both train EfficientNet-B2 in float32 on a batch in memory, with as many threads: here the step of
`mode = jit` (gradients, all-reduce, RMSProp), there timm's efficientnet_b2 in channels_last, cross
entropy, torch.optim.RMSprop, and for several ranks DDP with gloo. Each rank of each side is a
process. Blocks of steps alternate: while one side computes, the other waits for its input. PyTorch
and timm may be in another environment: `--torch-python`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "--worker" not in sys.argv:
    from launcher.core.plan.cpu import rank_environment
    from launcher.core.profile.model import DeviceTarget

IMAGES_A_STEP = {32: 32, 64: 16, 128: 8, 224: 4, 260: 4}
CLASSES = 10
BLOCK = 3
"""Steps of a turn. The first is left out: the caches hold the other side's data."""


class Side:
    """The processes of one side, which take steps when they are asked to."""

    def __init__(self, kind: str, words: list[str], ranks: int, threads: int) -> None:
        self.ms: list[float] = []
        self.peak_mib = 0.0
        common = {**os.environ, **rank_environment(DeviceTarget.CPU, threads), "GLOG_v": "3"}
        port = str(free_port())
        if kind == "torch":
            common |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        elif ranks > 1:
            common |= {"MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": port}
            common |= {"MS_WORKER_NUM": str(ranks)}
            scheduler = [sys.executable, "-m", "effnet.scheduler"]
            self._scheduler = subprocess.Popen(scheduler, env={**common, "MS_ROLE": "MS_SCHED"})
        self._ranks = []
        for rank in range(ranks):
            own = {"RANK": str(rank)} if kind == "torch" else {"RANK_ID": str(rank)}
            if kind != "torch" and ranks > 1:
                own |= {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)}
            self._ranks.append(
                subprocess.Popen(
                    words, env={**common, **own}, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )  # fmt: skip

    def steps(self, count: int, *, counts: bool = True) -> None:
        """All ranks take `count` steps; the slowest rank's time is the step's."""
        for process in self._ranks:
            assert process.stdin is not None
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
        found = [self._answer(process) for process in self._ranks]
        self.peak_mib = sum(answer["peak_mib"] for answer in found)
        if counts:
            self.ms += [max(times) for times in zip(*(a["ms"][1:] for a in found), strict=True)]

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{process.args} ended with exit code {process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        for process in self._ranks:
            process.kill()
            process.wait()
        scheduler = getattr(self, "_scheduler", None)
        if scheduler is not None:
            scheduler.kill()
            scheduler.wait()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def compare(size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Median step of each side in ms, images/s of all ranks, and their peak memory together."""
    cores = os.cpu_count() or 1
    threads = args.threads or max(1, cores // args.ranks)
    common = [__file__, "--worker", "--sizes", str(size), "--ranks", str(args.ranks), "--depthwise"]
    sides: dict[str, Side] = {}
    try:
        for form in args.depthwise.split(","):
            words = [sys.executable, *common, form]
            sides[form] = Side("ours", words, args.ranks, threads)
        sides["torch"] = Side("torch", [args.torch_python, *common, ""], args.ranks, threads)
        for side in sides.values():
            side.steps(2, counts=False)
        for _ in range(args.rounds):
            for side in sides.values():
                side.steps(BLOCK)
    finally:
        for side in sides.values():
            side.close()
    images = share(size, args.ranks) * args.ranks
    found: dict[str, Any] = {"px": size, "images": images, "ranks": args.ranks, "threads": threads}
    for name, side in sides.items():
        step_ms = statistics.median(side.ms)
        found[name] = {
            "step_ms": round(step_ms, 1),
            "images_per_s": round(images / step_ms * 1e3, 1),
            "peak_mib": round(side.peak_mib),
        }
    return found


def share(size: int, ranks: int) -> int:
    """Images of a rank in one step; batch norm needs two on maps of one pixel."""
    return max(2, IMAGES_A_STEP[size] // ranks)


# -- in the processes -----------------------------------------------------------------------------


def work(size: int, ranks: int, form: str) -> None:
    """Take as many steps as each line of the input says."""
    # What libraries print does not belong to the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    step = our_step(size, ranks, form) if form else torch_step(size, ranks)
    for line in sys.stdin:
        times = list[float]()
        for _ in range(int(line)):
            start_s = time.perf_counter()
            step()
            times.append((time.perf_counter() - start_s) * 1e3)
        print(json.dumps({"ms": times, "peak_mib": peak_mib()}), file=answers, flush=True)


def peak_mib() -> float:
    with open("/proc/self/status") as status:
        found = next(line for line in status if line.startswith("VmHWM"))
    return int(found.split()[1]) / 1024


def batch(size: int, ranks: int) -> tuple[Any, Any]:
    import numpy as np

    draw, count = np.random.default_rng(1), share(size, ranks)
    images = draw.standard_normal((count, 3, size, size), np.float32)
    return images, draw.integers(0, CLASSES, count)


def our_step(size: int, ranks: int, form: str) -> Callable[[], object]:
    import numpy as np

    from effnet import config as configuration
    from effnet import device
    from effnet.contract.reporter import Heartbeat
    from effnet.data import Batch
    from effnet.distributed.group import join
    from effnet.evaluate.depthwise import choose
    from effnet.model.efficientnet import EfficientNet
    from effnet.train.state.host import TrainState
    from effnet.train.steps.eager import TrainStep, select

    device.set_up("CPU")
    group = join(ranks > 1, "CPU")
    images, labels = batch(size, ranks)
    sets = ["device_target=CPU", f"class_num={CLASSES}", f"batch_size={len(images)}"]
    config = configuration.resolve(sets=[*sets, f"depthwise={form}"]).config
    net = EfficientNet("b2", CLASSES)
    choose(config, group).apply(net)
    state = TrainState(net, config)
    selected = select(state, config, group)
    step = TrainStep(net, state, config, group, Heartbeat(""), selected)
    noise = np.random.default_rng(2).random((len(images), net.noise_width), np.float32)
    every = np.arange(len(images))
    whole = Batch(0, images, labels.astype(np.int32), noise, every, every >= 0)
    return lambda: step(whole, 1e-5, 0)


def torch_step(size: int, ranks: int) -> Callable[[], object]:
    import timm
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = timm.create_model(
        "efficientnet_b2", num_classes=CLASSES, drop_rate=0.3, drop_path_rate=0.2
    )
    net = net.to(memory_format=torch.channels_last).train()
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        net = torch.nn.parallel.DistributedDataParallel(net)
    rule = torch.optim.RMSprop(net.parameters(), 1e-5, 0.9, 1e-3, 1e-5, 0.9)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    arrays = batch(size, ranks)
    images = torch.from_numpy(arrays[0]).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(arrays[1])

    def step() -> float:
        rule.zero_grad()
        loss = loss_of(net(images), labels)
        loss.backward()
        rule.step()
        return float(loss)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="32,64,128,224,260", help="px, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of a rank (default: its share of the cores)")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    parser.add_argument("--depthwise", default="auto", help="our forms, separated by commas")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    if args.worker:
        work(sizes[0], args.ranks, args.depthwise)
        return
    for size in sizes:
        print(json.dumps({**compare(size, args), "load": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
