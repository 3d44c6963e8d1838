"""Workers that prepare images and run the network on them, each its own, in order of the images.

One pool that decodes beside a network with threads of its own loses a tenth: onnxruntime's threads
spin while they wait, so decoders and network take the cores from each other. A worker here decodes
a few images and computes them by itself, with one thread; nothing waits (docs/benchmarks.md).
"""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from effnet.data.source import EvalSource
from effnet.infer.session import Model

PIXELS = 2 * 256 * 256
"""Of the images of one call, where nobody says their number: what they become in the network fits
into a core's share of the cache. Half or twice as many cost B0 and B2 at most 8 % of CPU time."""
MOST_IMAGES = 32
ACTIVATIONS = 64
"""Memory of one image in the network as a multiple of the image itself: 35 to 62 in B0 to B5."""


@dataclass(frozen=True)
class Plan:
    """`workers` run at once, each on `images` a call. `threads`: of the network, theirs included.

    Cores that have no worker share the work of each call.
    """

    workers: int
    images: int
    threads: int


@dataclass(frozen=True, eq=False)
class Computed:
    """One call: `count` images; of those that could be read the indices, labels and logits."""

    count: int
    indices: NDArray[np.int64]
    labels: NDArray[np.int32]
    logits: NDArray[np.float32]


def plan(
    model: Model, shape: tuple[int, int, int], count: int, batch_size: int | None, workers: int
) -> Plan:
    """For `count` images: at most `workers`, as many as half of the memory is enough for.

    `batch_size` images at once are shared by all workers; a file's own is the size of each call.
    """
    cores = len(os.sched_getaffinity(0))
    pixels = shape[1] * shape[2]
    images = model.batch_size or max(1, min(MOST_IMAGES, round(PIXELS / pixels)))
    if model.batch_size is None and batch_size is not None:
        images = max(1, batch_size // workers)
    bytes_each = images * 4 * shape[0] * pixels * ACTIVATIONS
    calls = -(-count // images) if model.batch_size is not None else count
    workers = min(workers, calls, max(1, memory_bytes() // 2 // bytes_each))
    # Another number of threads than one opens the file again, which takes longer than few images.
    threads = 1 if count <= cores else cores - workers + 1
    return Plan(workers, images, threads)


def memory_bytes(root: Path = Path("/")) -> int:
    """Of this machine, or of a cgroup that we are in, as a job of Slurm is."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _limit_files(root):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(path.read_text(encoding="ascii")))
    return min(limits)


def _limit_files(root: Path) -> Iterator[Path]:
    """Of our cgroup and those around it, of version 2 and 1."""
    mount, own = root / "sys/fs/cgroup", ["0::/", "1:memory:/"]
    with contextlib.suppress(OSError):
        own += (root / "proc/self/cgroup").read_text().splitlines()
    for line in own:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = mount / "memory" if controllers else mount
        folder = top / name.lstrip("/")
        for group in (folder, *folder.parents):
            yield group / ("memory.limit_in_bytes" if controllers else "memory.max")
            if group == top:
                break


def computed(model: Model, source: EvalSource, planned: Plan) -> Generator[Computed]:
    """Every image once, in order. The workers end when this is closed or one of them raises."""
    pool = ThreadPoolExecutor(planned.workers, thread_name_prefix="effnet-infer")
    waiting: collections.deque[Future[Computed]] = collections.deque()
    upcoming = parts(len(source.index), planned, model.batch_size is not None)
    try:
        while True:
            # Answers wait for a slower call before them; the workers go on meanwhile.
            while len(waiting) < 4 * planned.workers and (part := next(upcoming, None)):
                waiting.append(pool.submit(_compute, model, source, part, planned.images))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def parts(count: int, planned: Plan, is_fixed: bool) -> Iterator[range]:
    """The images of each call. The last are fewer, so that all workers end together."""
    start = 0
    while start < count:
        share = -(-(count - start) // (2 * planned.workers))
        images = planned.images if is_fixed else min(planned.images, share)
        yield range(start, min(start + images, count))
        start += images


def _compute(model: Model, source: EvalSource, part: range, size: int) -> Computed:
    images = np.empty((len(part), *source.shape), np.float32)
    labels = np.array([source.fill(images[n], i)[0] for n, i in enumerate(part)], np.int32)
    readable = labels >= 0
    if not readable.all():
        images = images[readable]
    padding = size - len(images) if model.batch_size is not None else 0
    if padding:
        images = np.concatenate([images, np.zeros((padding, *source.shape), np.float32)])
    logits = model(images) if len(images) else np.zeros((0, model.classes or 1), np.float32)
    indices = np.arange(part.start, part.stop)[readable]
    return Computed(len(part), indices, labels[readable], logits[: len(indices)])
