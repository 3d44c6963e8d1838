"""Adding up B2's gradients over the ranks of this machine: shared memory against MCCL, in turn.

    python benchmarks/reduction.py --ranks 8 --rounds 15

Each rank fills its bucket of 31 MB anew before each sum, as a step does. Prints medians of rank 0,
in ms, with the largest difference between the two results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
from bare_step import start_all

NUMBERS = 7_715_084 + 67_568 + 2
"""B2 with 10 classes: weights, statistics, loss and the wish to stop."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    if "MS_ROLE" not in os.environ:
        os.environ |= {"OMP_NUM_THREADS": "1", "MS_DEV_HOST_BLOCKING_RUN": "1"}
        start_all(args.ranks)
    from effnet import device
    from effnet.distributed import group, shared_memory

    device.set_up("CPU")
    place = group.join(True)
    shared = shared_memory.join(place, NUMBERS)
    assert shared is not None, "the ranks share no memory"
    ways = {"shared memory": shared, "MCCL": group.CollectiveSum(place, NUMBERS)}
    drawn = np.random.default_rng(place.rank).standard_normal(NUMBERS, np.float32)
    took_ms: dict[str, list[float]] = {name: [] for name in ways}
    worst = 0.0
    for _ in range(args.rounds):
        found = []
        for name, way in ways.items():
            place.barrier()
            start_s = time.perf_counter()
            way.bucket[:] = drawn
            found.append(way.reduce())
            took_ms[name].append((time.perf_counter() - start_s) * 1e3)
        worst = max(worst, float(np.abs(found[0] - found[1]).max()))
    if place.rank == 0:
        for name, times in took_ms.items():
            median_ms, least_ms = statistics.median(times), min(times)
            print(f"{args.ranks} ranks, {name}: median {median_ms:.0f} ms, least {least_ms:.0f} ms")
        print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
