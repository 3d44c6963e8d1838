"""Each way to infer the same JPEGs in one table: ms an image by batch size. B2 at 260 px.

    python benchmarks/infer.py                                    batch 1 to 64 on the CPU
    python benchmarks/infer.py --batches 4 --only infer           onnxruntime, decoding, infer alone
    python benchmarks/infer.py --device_target GPU --images 4096
    python benchmarks/infer.py --write_onnx b2.onnx               only write the file, for a machine
    python benchmarks/infer.py --onnx_path b2.onnx                without MindSpore

- onnxruntime: `session.run` on one batch that lies in memory, on all cores;
- in place: the same with input and output left on the device (GPU only);
- decoding: reading and preparing the JPEGs on all cores, and nothing else;
- infer: what `python -m effnet infer` does from the first image to the last;
- in turn, at once: infer's images/s as a share of those of onnxruntime and decoding one after the
  other (the goal is 0.95), and of the slower of the two alone;
- C++: cpp_infer with MindSpore Lite, decoding included; in Lite: the network alone;
- eval: `python -m effnet eval` on the same images.

These take turns in each round, and each figure is the median of the rounds, so that other programs
slow all of them; C++ and eval, on a CPU alone, are measured once. Weights are random: they cost
what trained ones do.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from photos import write_jpegs  # noqa: E402
from rows import head, row  # noqa: E402

from effnet import onnx_runtime  # noqa: E402
from effnet.data import BadImages, shard  # noqa: E402
from effnet.data.loader import thread_count  # noqa: E402
from effnet.data.prefetch import batches as prefetch  # noqa: E402
from effnet.data.source import EvalSource  # noqa: E402
from effnet.infer import facts  # noqa: E402
from effnet.infer.images import find_images  # noqa: E402
from effnet.infer.predict import predict  # noqa: E402
from effnet.infer.session import Model, open_model  # noqa: E402
from effnet.infer.workers import Plan, plan  # noqa: E402

CLASSES = 10
LEAST_S = 0.8
"""Of calls of one kind in a round."""
COLUMNS = ("infer", "cpp", "eval")
HEADS = {"onnxruntime": 2, "in place": 2, "decoding": 2, "`effnet infer`": 2, "in turn": 2,
         "at once": 2, "C++": 1, "in Lite": 1, "`effnet eval`": 0}  # fmt: skip
"""Of each column the digits that are shown."""


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    args = parser.parse_args()
    if args.write_onnx is not None:
        write_files(args.write_onnx, args.variant, args.size, [])
        return
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        path, others = args.onnx_path, []
        if path is None:
            path = Path(folder) / "net.onnx"
            others = [name for name in args.only if name != "infer" and args.device_target == "CPU"]
            write_files(path, args.variant, args.size, others)
        jpegs = Path(folder) / "jpegs"
        write_jpegs(jpegs, args.images, CLASSES)
        compare(path, jpegs, args, others)


def write_files(path: Path, variant: str, size: int, others: list[str]) -> None:
    """As `effnet export` writes them, from random weights. Needs MindSpore."""
    from effnet.data import Preprocessing
    from effnet.export import mindir, onnx_file
    from effnet.model.depthwise import use_plain_depthwise
    from effnet.model.efficientnet import EfficientNet
    from effnet.weights.files import write_tensors
    from effnet.weights.manifest import write_manifest

    record: dict[str, Any] = {"variant": variant, "padding": "symmetric", "num_classes": CLASSES}
    record["preprocessing"] = Preprocessing(size + 20, size, size).to_dict()
    net = EfficientNet(variant, CLASSES)
    net.set_train(False)
    if "eval" in others:
        checkpoint = path.with_name("net.ckpt")
        write_tensors(checkpoint, {p.name: p.asnumpy() for p in net.get_parameters()})
        network: dict[str, Any] = {"variant": variant, "padding": "symmetric", "bn_eps": net.bn_eps}
        write_manifest(checkpoint, **network, num_classes=CLASSES, source="import")
    use_plain_depthwise(net)
    if "cpp" in others:
        mindir.write(net, path.with_name("net.mindir"), (size, size), None)
        path.with_name("net.mindir.json").write_text(json.dumps(record))
    onnx_file.write(net, path, (size, size), None, record)


Measure = Callable[[], dict[str, float]]
"""Column -> ms an image, once."""


def compare(path: Path, jpegs: Path, args: argparse.Namespace, others: list[str]) -> None:
    """Print the table, a row at a time."""
    target, model = args.device_target, open_model(path, args.device_target)
    source = source_of(model, jpegs)
    name = f"{args.variant}, {args.size} px" if args.onnx_path is None else path.name
    about = f"{name}, {len(source.index)} JPEGs, {device(target)}ms an image, medians of"
    print(f"{about} {args.rounds} rounds; onnxruntime {onnx_runtime.load().__version__}\n")
    if target == "GPU":
        agree(model, open_model(path, "CPU"), source)
    shown: list[str] = []
    for size in args.batches:
        ways = in_turn(path, args.device_target, model, source, size)
        once: list[Measure] = []
        if "cpp" in others:
            once.append(functools.partial(cpp_ms, path.with_name("net.mindir"), jpegs, size))
        if "eval" in others:
            once.append(functools.partial(eval_ms, path.with_name("net.ckpt"), jpegs, args, size))
        found = medians(ways, once, args.rounds)
        if not shown:
            shown = [name for name in HEADS if name in found]
            head("batch", *shown)
        row(str(size), *(f"{found[name]:.{HEADS[name]}f}" for name in shown))


def in_turn(path: Path, target: str, model: Model, source: EvalSource, size: int) -> list[Measure]:
    drawn = np.random.default_rng(size).normal(size=(size, *source.shape)).astype(np.float32)
    found: list[Measure] = [
        lambda: {"onnxruntime": call_ms(lambda: model(drawn)) / size},
        lambda: {"decoding": decoding_ms(source, size)},
        lambda: {"`effnet infer`": infer_ms(path, target, source, size)},
    ]
    if target == "GPU":
        found.append(lambda: {"in place": in_place_ms(model, drawn) / size})
    return found


def medians(ways: list[Measure], once: list[Measure], rounds: int) -> dict[str, float]:
    """Of each column, and of the shares in each round."""
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        figures: dict[str, float] = {}
        for way in [*ways, *(once if number == 0 else ())]:
            figures |= way()
        run, decoding = figures["onnxruntime"], figures["decoding"]
        whole = figures["`effnet infer`"]
        figures |= {"in turn": (run + decoding) / whole, "at once": max(run, decoding) / whole}
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def device(target: str) -> str:
    if target == "CPU":
        return ""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "-i", "0"]
    found = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True)
    return f"{found.stdout.strip()}, "


def agree(model: Model, on_cpu: Model, source: EvalSource) -> None:
    """Print how far the logits of 64 photographs are from those of the CPU."""
    rows = np.arange(64, dtype=np.int64)[None]
    with closing(prefetch(source, rows, thread_count(0))) as prepared:
        images = next(prepared).images
    ours, theirs = model(images), on_cpu(images)
    far = float(np.abs(ours - theirs).max())
    same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    print(
        f"64 images: logits at most {far:.2g} from the CPU's (their deviation is"
        f" {float(theirs.std()):.2g}), top-1 equal in {same}\n"
    )


def call_ms(call: Callable[[], object]) -> float:
    for _ in range(2):
        call()
    taken: list[float] = []
    while sum(taken) < LEAST_S or len(taken) < 3:
        start_s = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start_s)
    return statistics.mean(taken) * 1e3


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


def decoding_ms(source: EvalSource, size: int) -> float:
    every = np.arange(len(source.index), dtype=np.int64)
    rows = shard(every, size, drop_remainder=False)
    start_s = time.perf_counter()
    with closing(prefetch(source, rows, thread_count(0))) as prepared:
        for _ in prepared:
            pass
    return (time.perf_counter() - start_s) * 1e3 / len(every)


def infer_ms(path: Path, target: str, source: EvalSource, size: int) -> float:
    """As `effnet infer` does it, with a session of its own."""
    count = len(source.index)
    model = open_model(path, target, threads=0 if target == "GPU" else 1)
    planned = Plan(thread_count(0), size, 0)
    if target == "CPU":
        planned = plan(model, source.shape, count, size, thread_count(0))
    return 1e3 / predict(model, source, planned, lambda done: None).images_per_s


def cpp_ms(path: Path, jpegs: Path, size: int) -> dict[str, float]:
    built = subprocess.run([ROOT / "cpp_infer" / "build"], stdout=subprocess.PIPE, check=True)
    command = [built.stdout.decode().strip(), "--model", str(path), "--data", str(jpegs), "--json"]
    command += ["--batch-size", str(size), "--output", str(path.with_name("out"))]
    done = subprocess.run(
        command,
        env={**os.environ, "GLOG_v": "4"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    said = json.loads(done.stdout)
    return {"C++": 1e3 / said["images_per_s"], "in Lite": said["ms_per_image"]}


def eval_ms(path: Path, jpegs: Path, args: argparse.Namespace, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "effnet", "eval", "--json", "--dataset_path", str(jpegs)]
    command += ["--checkpoint_path", str(path), "--batch_size", str(size)]
    command += ["--eval_image_size", str(args.size), "--eval_resize", str(args.size + 20)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return {"`effnet eval`": 1e3 / json.loads(done.stdout)["images_per_s"]}


if __name__ == "__main__":
    main()
