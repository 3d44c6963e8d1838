"""Images a second and CPU time an image: ours against MindSpore's C++ pipeline, in one run.

    python benchmarks/data.py [--images 400] [--threads N]

JPEGs of 500 x 375 px are made on the spot (about 90 kB each, smooth noise), and scikit-learn's
digits. Needs the extra `train`. Run it on an otherwise idle machine; every line is the better of
two passes.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mindspore.dataset as ds
import mindspore.dataset.vision as vision
from mindspore.dataset.vision import Inter
from photos import write_jpegs

from effnet.config import TrainConfig, resolve
from effnet.data import ImageIndex, eval_batches, index_folder, train_batches
from effnet.data.dataset import train_dataset
from effnet.data.digits import write_digits

BATCH = 32


@dataclasses.dataclass(frozen=True)
class Line:
    work: str
    by: str
    images_per_s: float
    cpu_ms_per_image: float


def measured(work: str, by: str, passes: Callable[[int], Iterator[int]]) -> Line:
    """``passes(n)`` yields the images of each batch of pass n."""
    best: Line | None = None
    for n in range(2):
        cpu, start, images = time.process_time(), time.perf_counter(), 0
        for count in passes(n):
            images += count
        seconds = time.perf_counter() - start
        line = Line(work, by, images / seconds, (time.process_time() - cpu) / images * 1e3)
        if best is None or line.images_per_s > best.images_per_s:
            best = line
    assert best is not None
    return best


def ours(index: ImageIndex, config: TrainConfig) -> Callable[[int], Iterator[int]]:
    return lambda n: (len(b.labels) for b in train_batches(index, config, epoch=n))


def ours_as_dataset(index: ImageIndex, config: TrainConfig) -> Callable[[int], Iterator[int]]:
    def passes(n: int) -> Iterator[int]:
        data = train_dataset(index, dataclasses.replace(config, epoch_size=n + 1), epoch=n)
        for row in data.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield len(row[1])

    return passes


def minddata(folder: str, steps: list[object], threads: int) -> Callable[[int], Iterator[int]]:
    def passes(n: int) -> Iterator[int]:
        data = ds.ImageFolderDataset(folder, num_parallel_workers=threads, shuffle=True)
        data = data.map(steps, "image", num_parallel_workers=threads).batch(BATCH)
        for row in data.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield len(row[1])

    return passes


def minddata_train(size: int, reference: bool) -> list[object]:
    steps: list[object] = [
        vision.RandomCropDecodeResize(size),
        vision.RandomHorizontalFlip(),
    ]
    if reference:
        steps += [vision.RandomSelectSubpolicy(_policy()), vision.RandomColorAdjust(0.4, 0.4, 0.4)]
    return [*steps, *_ending()]


def minddata_eval(resize: int, size: int, how: Inter) -> list[object]:
    return [vision.Decode(), vision.Resize(resize, how), vision.CenterCrop(size), *_ending()]


def _ending() -> list[object]:
    return [vision.Normalize([127.5] * 3, [127.5] * 3), vision.HWC2CHW()]


def _policy() -> list[list[tuple[object, float]]]:
    """Our table with MindSpore's C++ operations, for the same work."""
    from effnet.data.augment.reference_policy import REFERENCE

    made: dict[str, Callable[[int], object]] = {
        "posterize": lambda n: vision.RandomPosterize((4 - n * 4 // 10,) * 2),
        "rotate": lambda n: vision.RandomRotation((n * 3, n * 3)),
        "shear_x": lambda n: vision.RandomAffine(degrees=0, shear=(n * 0.03, n * 0.03)),
        "solarize": lambda n: vision.RandomSolarize((0, 256 - n * 256 // 10)),
        "colour": lambda n: vision.RandomColor((n * 0.18 + 0.1,) * 2),
        "contrast": lambda n: vision.RandomColorAdjust(contrast=(n * 0.18 + 0.1,) * 2),
        "sharpness": lambda n: vision.RandomSharpness((n * 0.18 + 0.1,) * 2),
        "equalize": lambda n: vision.Equalize(),
        "autocontrast": lambda n: vision.AutoContrast(),
        "invert": lambda n: vision.Invert(),
    }
    return [[(made[name](level), p) for name, level, p in pair] for pair in REFERENCE]


def lines(folder: Path, images: int, threads: int) -> Iterator[Line]:
    jpegs = folder / "jpegs"
    write_jpegs(jpegs, images)
    photos = index_folder(jpegs)
    common = ["class_num=10", f"batch_size={BATCH}"]
    photo = [*common, "image_size=260", "image_cache_mb=0", f"num_workers={threads}"]
    plain = resolve("CPU", sets=[*photo, "auto_augment=none", "color_jitter=0"]).config
    full = resolve("CPU", sets=photo).config

    def mindspore(work: str, steps: list[object]) -> Line:
        return measured(work, "minddata C++", minddata(str(jpegs), steps, threads))

    work = "260 px, crop + flip"
    yield mindspore(work, minddata_train(260, reference=False))
    yield measured(work, f"{threads} threads", ours(photos, plain))
    work = "260 px, reference policy"
    yield mindspore(work, minddata_train(260, reference=True))
    yield measured(work, f"{threads} threads", ours(photos, full))
    yield measured(work, "threads, as a MindSpore dataset", ours_as_dataset(photos, full))
    for resize, how, name in ((280, Inter.BILINEAR, "bilinear"), (292, Inter.BICUBIC, "bicubic")):
        work = f"eval {resize} {name}, crop 260"
        config = resolve(
            "CPU", sets=[*photo, f"eval_resize={resize}", f"interpolation={name}"]
        ).config
        yield mindspore(work, minddata_eval(resize, 260, how))
        yield measured(
            work, f"{threads} threads",
            lambda n, c=config: (len(b.labels) for b in eval_batches(photos, c)),
        )  # fmt: skip

    digits = index_folder(write_digits(folder / "digits"), "train")
    small = [*common, "image_size=32"]
    for name, more in (
        ("crop + flip", ["auto_augment=none", "color_jitter=0"]),
        ("reference policy", []),
    ):
        work = f"digits at 32 px, {name}"
        steps = minddata_train(32, reference=not more)
        yield measured(work, "minddata C++", minddata(digits.root, steps, threads))
        config = resolve("CPU", sets=[*small, *more]).config
        yield measured(work, "1 thread, as images are cached", ours(digits, config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'':34} {'':32} {'images/s':>9} {'CPU ms/image':>13}")
        for line in lines(Path(folder), args.images, args.threads):
            rates = f"{line.images_per_s:9.0f} {line.cpu_ms_per_image:13.2f}"
            print(f"{line.work:34} {line.by:32} {rates}", flush=True)


if __name__ == "__main__":
    main()
