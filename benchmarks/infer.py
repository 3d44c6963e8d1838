"""Milliseconds an image of one network: C++ with MindSpore Lite, onnxruntime, MindSpore.

python benchmarks/infer.py                        B2 at 260 px, batch 1 and 8
python benchmarks/infer.py --variant b0 --size 32 --batches 1 32

The mean over some rounds in one run, on all cores: the network alone, though in C++ the next images
are decoded at the same time. Weights are random: they cost what trained ones do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
CLASSES = 1000
Images = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="b2")
    parser.add_argument("--size", type=int, default=260, metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{args.variant}, {args.size} px, {cores} cores, ms/image, the mean of {args.rounds}")
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        write_files(Path(folder), args.variant, args.size)
        for name, measure in (
            ("C++, MindSpore Lite 2.0, free batch", lite("free")),
            ("C++, MindSpore Lite 2.0, fixed batch", lite("fixed")),
            ("onnxruntime", onnxruntime_),
            ("MindSpore, the MindIR file", graph_cell),
            ("MindSpore, PyNative", lambda *given: pynative(args.variant, *given)),
        ):
            found = measure(Path(folder), args.size, args.batches, args.rounds)
            shown = ", ".join(f"batch {batch}: {ms:.1f}" for batch, ms in found)
            print(f"{name:<38} {shown}", flush=True)


def write_files(folder: Path, variant: str, size: int) -> None:
    """net.onnx, free.mindir and fixed.mindir (batch 1), with a record beside each."""
    from effnet.data import Preprocessing
    from effnet.export import mindir, onnx_file
    from effnet.model.depthwise import use_plain_depthwise

    preprocessing = Preprocessing(size, size, size)
    record = {"variant": variant, "padding": "symmetric", "num_classes": CLASSES}
    record["preprocessing"] = preprocessing.to_dict()
    for name, batch in (("free", None), ("fixed", 1)):
        net = network(variant)
        use_plain_depthwise(net)
        path = folder / f"{name}.mindir"
        mindir.write(net, path, (size, size), batch)
        path.with_name(f"{name}.mindir.json").write_text(json.dumps(record))
    net = network(variant)
    use_plain_depthwise(net)
    onnx_file.write(net, folder / "net.onnx", (size, size), None, record)


def network(variant: str) -> Any:
    from effnet.model.efficientnet import EfficientNet

    net = EfficientNet(variant, CLASSES)
    net.set_train(False)
    return net


Found = Iterator[tuple[int, float]]


def lite(name: str) -> Callable[[Path, int, list[int], int], Found]:
    """effnet-infer over as many images as the rounds need."""

    def measure(folder: Path, size: int, batches: list[int], rounds: int) -> Found:
        built = subprocess.run(
            [PROJECT / "cpp_infer" / "build"], stdout=subprocess.PIPE, text=True, check=True
        )
        images = folder / "images"
        images.mkdir(exist_ok=True)
        draw = np.random.RandomState(1)
        for batch in batches:
            for old in images.iterdir():
                old.unlink()
            for i in range(batch * rounds):
                pixels = draw.randint(0, 256, (size, size, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(images / f"{i}.jpg")
            command = [built.stdout.strip(), "--model", str(folder / f"{name}.mindir")]
            command += ["--data", str(images), "--batch-size", str(batch)]
            done = subprocess.run(
                [*command, "--output", str(folder / "out"), "--json"],
                env={**os.environ, "GLOG_v": "4"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            yield batch, json.loads(done.stdout)["ms_per_image"]

    return measure


def onnxruntime_(folder: Path, size: int, batches: list[int], rounds: int) -> Found:
    from effnet.export import onnx_file

    return timed(onnx_file.load(folder / "net.onnx"), size, batches, rounds)


def graph_cell(folder: Path, size: int, batches: list[int], rounds: int) -> Found:
    from effnet.export import mindir

    return timed(mindir.load(folder / "free.mindir"), size, batches, rounds)


def pynative(variant: str, _: Path, size: int, batches: list[int], rounds: int) -> Found:
    import mindspore as ms

    net = network(variant)
    return timed(lambda images: net(ms.Tensor(images)).asnumpy(), size, batches, rounds)


def timed(compute: Callable[[Images], Images], size: int, batches: list[int], rounds: int) -> Found:
    for batch in batches:
        drawn = np.random.RandomState(batch).normal(size=(batch, 3, size, size))
        images: Images = drawn.astype(np.float32)
        compute(images)
        start_s = time.perf_counter()
        for _ in range(rounds):
            compute(images)
        yield batch, (time.perf_counter() - start_s) * 1e3 / (batch * rounds)


if __name__ == "__main__":
    main()
