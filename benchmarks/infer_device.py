"""`effnet infer` on JPEGs against raw onnxruntime by batch size, on a CPU or GPU: B2 at 260 px.

    python benchmarks/infer_device.py                          batch 1 to 64 on the CPU
    python benchmarks/infer_device.py --device_target GPU --images 4096
    python benchmarks/infer_device.py --write_onnx b2.onnx     only write the file, for a machine
    python benchmarks/infer_device.py --onnx_path b2.onnx      without MindSpore

All in ms an image, in one run of this script:

- onnxruntime: `session.run` on one batch that lies in memory, the median call;
- in place: the same with input and output left on the device (GPU only);
- decoding: reading and preparing the same JPEGs, with the same threads, and nothing else;
- infer: `python -m effnet infer` in a process of its own, from the first image to the last;
- in turn, at once: infer's images/s as a share of those of onnxruntime and decoding one after the
  other, and of the slower of the two alone, which nothing can exceed.

Weights are random: they cost what trained ones do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from photos import write_jpegs  # noqa: E402

from effnet import onnx_runtime  # noqa: E402
from effnet.data import BadImages, shard  # noqa: E402
from effnet.data.loader import thread_count  # noqa: E402
from effnet.data.prefetch import batches as prefetch  # noqa: E402
from effnet.data.source import EvalSource  # noqa: E402
from effnet.infer import facts  # noqa: E402
from effnet.infer.images import find_images  # noqa: E402
from effnet.infer.session import Model, open_model  # noqa: E402

LEAST_S = 1.5
"""Of calls of one kind and batch size."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device_target", choices=("CPU", "GPU"), default="CPU")
    parser.add_argument("--onnx_path", type=Path)
    parser.add_argument("--write_onnx", type=Path, metavar="FILE")
    parser.add_argument("--variant", default="b2")
    parser.add_argument("--size", type=int, default=260, metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--images", type=int, default=256)
    args = parser.parse_args()
    if args.write_onnx is not None:
        write_onnx(args.write_onnx, args.variant, args.size)
        return
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        path = args.onnx_path
        if path is None:
            path = Path(folder) / "net.onnx"
            write_onnx(path, args.variant, args.size)
        jpegs = Path(folder) / "jpegs"
        write_jpegs(jpegs, args.images, classes=0)
        compare(path, jpegs, args.device_target, args.batches)


def write_onnx(path: Path, variant: str, size: int) -> None:
    """As `effnet export` writes it, from random weights. Needs MindSpore."""
    from effnet.data import Preprocessing
    from effnet.export import onnx_file
    from effnet.model.depthwise import use_plain_depthwise
    from effnet.model.efficientnet import EfficientNet

    record: dict[str, Any] = {"variant": variant, "padding": "symmetric", "num_classes": 1000}
    record["preprocessing"] = Preprocessing(size + 20, size, size).to_dict()
    net = EfficientNet(variant, 1000)
    net.set_train(False)
    use_plain_depthwise(net)
    onnx_file.write(net, path, (size, size), None, record)


def compare(path: Path, jpegs: Path, target: str, sizes: list[int]) -> None:
    model = open_model(path, target)
    runtime = onnx_runtime.load()
    threads = thread_count(0)
    print(
        f"{path.name}, {device(target)}, {threads} cores, load {os.getloadavg()[0]:.1f},"
        f" onnxruntime {runtime.__version__}, Python {platform.python_version()}"
    )
    if target == "GPU":
        agree(model, open_model(path, "CPU"), jpegs)
    head = ("batch", "onnxruntime", "in place", "decoding", "infer", "in turn", "at once")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for size in sizes:
        images = drawn(model, size)
        run = call_ms(lambda images=images: model(images)) / size
        placed = in_place_ms(model, images) / size if target == "GPU" else None
        decoding = decoding_ms(model, jpegs, size, threads)
        whole = infer_ms(path, jpegs, target, size)
        shown = (
            str(size),
            f"{run:.2f}",
            "" if placed is None else f"{placed:.2f}",
            f"{decoding:.2f}",
            f"{whole:.2f}",
            f"{(run + decoding) / whole:.2f}",
            f"{max(run, decoding) / whole:.2f}",
        )
        print("| " + " | ".join(shown) + " |", flush=True)


def device(target: str) -> str:
    if target == "GPU":
        query = [
            "nvidia-smi",
            "--query-gpu=name,driver_version",
            "--format=csv,noheader",
            "-i",
            "0",
        ]
        return subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def agree(model: Model, on_cpu: Model, jpegs: Path) -> None:
    """Print how far the logits of 64 photographs are from those of the CPU."""
    rows = np.arange(64, dtype=np.int64)[None]
    with closing(prefetch(source_of(model, jpegs), rows, thread_count(0))) as prepared:
        images = next(prepared).images
    ours, theirs = model(images), on_cpu(images)
    far = float(np.abs(ours - theirs).max())
    spread = float(theirs.std())
    same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    print(
        f"64 images: logits at most {far:.2g} from the CPU's (their deviation is {spread:.2g}),"
        f" top-1 equal in {same}"
    )


def drawn(model: Model, size: int) -> Any:
    shape = (size, 3, model.height_px, model.width_px)
    return np.random.default_rng(size).normal(size=shape).astype(np.float32)


def call_ms(call: Any) -> float:
    for _ in range(3):
        call()
    taken: list[float] = []
    while sum(taken) < LEAST_S or len(taken) < 5:
        start_s = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start_s)
    return statistics.median(taken) * 1e3


def in_place_ms(model: Model, images: Any) -> float:
    runtime = onnx_runtime.load()
    placed = runtime.OrtValue.ortvalue_from_numpy(images, "cuda", 0)
    binding = model.session.io_binding()
    binding.bind_ortvalue_input(model.input, placed)
    binding.bind_output(model.output, "cuda", 0)

    def call() -> None:
        model.session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call_ms(call)


def source_of(model: Model, jpegs: Path) -> EvalSource:
    given = dict.fromkeys(("width", "height", "resize", "interpolation", "normalization"))
    return EvalSource(find_images(str(jpegs))[0], facts.preprocessing(model, given), BadImages())


def decoding_ms(model: Model, jpegs: Path, size: int, threads: int) -> float:
    source = source_of(model, jpegs)
    every = np.arange(len(source.index), dtype=np.int64)
    rows = shard(every, size, drop_remainder=False)
    start_s = time.perf_counter()
    with closing(prefetch(source, rows, threads)) as prepared:
        for _ in prepared:
            pass
    return (time.perf_counter() - start_s) * 1e3 / len(every)


def infer_ms(path: Path, jpegs: Path, target: str, size: int) -> float:
    command = [sys.executable, "-m", "effnet", "infer", "--json", "--onnx_path", str(path)]
    command += ["--dataset_path", str(jpegs), "--batch_size", str(size), "--device_target", target]
    command += ["--predictions", str(jpegs.with_name("predictions.csv"))]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return 1e3 / float(json.loads(done.stdout)["images_per_s"])


if __name__ == "__main__":
    main()
