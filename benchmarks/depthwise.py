"""CPU seconds of the depthwise convolution, forward and backward, against nn.Conv2d(group=C).

    python benchmarks/depthwise.py [--image 32] [--batch 16] [--compiled]

One line for each distinct depthwise convolution of EfficientNet-B2 at that image size, with how
many blocks have it. All forms run in turn in this process; the least of several runs counts,
in CPU milliseconds of all threads. "used" is what the network takes in training.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable

# As the launcher sets them for ranks on CPU; MindSpore reads them when it is imported.
os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from effnet.model import depthwise, scaling

_LARGEST_MATRIX = 1 << 18
"""Elements of a channel's matrix beyond which the whole-map form is not even tried."""


class Form(nn.Cell):
    """One way of computing it, as (x, weight) -> y."""

    def __init__(self, form: str, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.form, self.kernel, self.stride = form, kernel, stride
        self.plain = depthwise.DepthwiseConv(channels, kernel, stride, "symmetric").conv2d

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.form == "whole map":
            return depthwise._by_whole_map(x, weight, self.kernel, self.stride, False)
        if self.form == "tiles":
            return depthwise._by_tiles(x, weight, self.kernel, self.stride, False)
        return self.plain(x, weight)


def cpu_ms(function: Callable[[], object], repeats: int) -> float:
    """The least CPU time of `repeats` calls, after one that does not count."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best * 1e3


def measure(form: Form, x: Tensor, weight: Tensor, compiled: bool, repeats: int) -> float:
    """CPU ms of one forward and backward."""
    gradient = ops.GradOperation(get_all=True, sens_param=True)(form)
    sens = ops.ones_like(form(x, weight))
    call = ms.jit(gradient) if compiled else gradient

    def run() -> None:
        for tensor in call(x, weight, sens):
            tensor.asnumpy()

    return cpu_ms(run, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", type=int, default=32, help="side in px (default: 32)")
    parser.add_argument("--batch", type=int, default=16, help="images (default: 16)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="in ms.jit, not PyNative")
    args = parser.parse_args()

    size = depthwise.output_size(args.image, 2)
    cases: Counter[tuple[int, int, int, int]] = Counter()
    for spec in scaling.blocks("b2"):
        cases[spec.expanded_channels, spec.kernel, spec.stride, size] += 1
        size = depthwise.output_size(size, spec.stride)

    mode = "compiled" if args.compiled else "PyNative"
    print(f"EfficientNet-B2, {args.image} px, batch {args.batch}, {mode}; CPU ms")
    print("blocks channels kernel stride  map  Conv2d  whole map   tiles  used       gain")
    totals = {"conv": 0.0, "used": 0.0}
    random = np.random.RandomState(0)
    for (channels, kernel, stride, side), blocks in cases.items():
        shape = (args.batch, channels, side, side)
        x = Tensor(random.standard_normal(shape).astype(np.float32))
        weight = Tensor(random.standard_normal((channels, 1, kernel, kernel)).astype(np.float32))
        found: dict[str, float] = {}
        outputs = depthwise.output_size(side, stride)
        for name in ("conv", "whole map", "tiles"):
            if name == "whole map" and (side * outputs) ** 2 > _LARGEST_MATRIX:
                continue
            form = Form(name, channels, kernel, stride)
            found[name] = measure(form, x, weight, args.compiled, args.repeats)
        used = "whole map" if depthwise.whole_map_pays(side, side, stride) else "tiles"
        totals["conv"] += blocks * found["conv"]
        totals["used"] += blocks * found[used]
        columns = [f"{found[n]:.1f}" if n in found else "-" for n in ("conv", "whole map", "tiles")]
        print(
            f"{blocks:6} {channels:8} {kernel:6} {stride:6} {side:4}"
            f" {columns[0]:>7} {columns[1]:>10} {columns[2]:>7}  {used:<9}"
            f" {found['conv'] / found[used]:5.1f}x",
            flush=True,
        )
    print(
        f"all blocks: Conv2d {totals['conv']:.0f} ms, used {totals['used']:.0f} ms,"
        f" {totals['conv'] / totals['used']:.1f}x"
    )


if __name__ == "__main__":
    main()
