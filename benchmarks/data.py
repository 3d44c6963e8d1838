"""Images a second and CPU time an image: ours against MindSpore's C++ pipeline, in one run.

    python benchmarks/data.py [--images 400] [--threads N] [--rounds 3]

JPEGs of 500 x 375 px are made on the spot (about 90 kB each, smooth noise), and scikit-learn's
digits. Needs the extra `train`. Run it on an otherwise idle machine. Both sides work in turn; each
figure is the best of its rounds, and CPU time, which depends less on other programs, the least.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import mindspore.dataset as ds
import mindspore.dataset.vision as vision
from mindspore.dataset.vision import Inter
from photos import write_jpegs
from rows import head, row

from effnet.config import TrainConfig, resolve
from effnet.data import ImageIndex, eval_batches, index_folder, train_batches
from effnet.data.dataset import train_dataset
from effnet.data.digits import write_digits
from effnet.data.pixels import compiled

BATCH = 32


Passes = Callable[[int], Iterator[int]]
"""Of the number of a pass -> the images of each of its batches."""


@dataclasses.dataclass
class Side:
    """One way to do some work, and the best of what was measured of it."""

    by: str
    passes: Passes
    images_per_s: float = 0.0
    cpu_ms_per_image: float = float("inf")

    def measure(self, n: int) -> None:
        cpu, start, images = time.process_time(), time.perf_counter(), 0
        for count in self.passes(n):
            images += count
        seconds = time.perf_counter() - start
        cpu_ms = (time.process_time() - cpu) / images * 1e3
        self.images_per_s = max(self.images_per_s, images / seconds)
        self.cpu_ms_per_image = min(self.cpu_ms_per_image, cpu_ms)


def measured(work: str, rounds: int, minddata: Passes, ours: dict[str, Passes]) -> None:
    """Prints a line for MindSpore's pipeline and for each of ours, with the ratios."""
    first = Side("minddata, C++", minddata)
    sides = [first, *(Side(by, passes) for by, passes in ours.items())]
    for n in range(rounds):
        for side in sides:
            side.measure(n)
    for side in sides:
        rate = side.images_per_s / first.images_per_s
        cpu = first.cpu_ms_per_image / side.cpu_ms_per_image
        rates = (f"{side.images_per_s:,.0f}", f"{rate:.2f}")
        row(work, side.by, *rates, f"{side.cpu_ms_per_image:.2f}", f"{cpu:.2f}")
        work = ""


def ours(index: ImageIndex, config: TrainConfig) -> Passes:
    return lambda n: (len(b.labels) for b in train_batches(index, config, epoch=n))


def ours_eval(index: ImageIndex, config: TrainConfig) -> Passes:
    return lambda n: (len(b.labels) for b in eval_batches(index, config))


def by_pillow(passes: Passes) -> Passes:
    """Without the compiled form."""

    def slower(n: int) -> Iterator[int]:
        with mock.patch.object(compiled, "form", return_value=None):
            yield from passes(n)

    return slower


def ours_as_dataset(index: ImageIndex, config: TrainConfig) -> Passes:
    def passes(n: int) -> Iterator[int]:
        data = train_dataset(index, dataclasses.replace(config, epoch_size=n + 1), epoch=n)
        for arrays in data.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield len(arrays[1])

    return passes


def minddata(folder: str, steps: list[object], threads: int) -> Passes:
    def passes(n: int) -> Iterator[int]:
        data = ds.ImageFolderDataset(folder, num_parallel_workers=threads, shuffle=True)
        data = data.map(steps, "image", num_parallel_workers=threads).batch(BATCH)
        for arrays in data.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield len(arrays[1])

    return passes


def minddata_train(size: int, policy: str) -> list[object]:
    steps: list[object] = [vision.RandomCropDecodeResize(size), vision.RandomHorizontalFlip()]
    if policy == "reference":
        steps += [vision.RandomSelectSubpolicy(_policy()), vision.RandomColorAdjust(0.4, 0.4, 0.4)]
    elif policy == "rand":
        steps.append(vision.RandAugment(2, 9, interpolation=Inter.BILINEAR))
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


POLICIES = {
    "crop + flip": ("none", ["auto_augment=none", "color_jitter=0"]),
    "reference policy": ("reference", []),
    "RandAugment": ("rand", ["auto_augment=rand-m9-mstd0.5", "color_jitter=0"]),
}
"""Name -> minddata's steps, our settings."""


def photos(folder: Path, images: int, threads: int, rounds: int) -> None:
    write_jpegs(folder, images)
    index = index_folder(folder)
    common = ["class_num=10", f"batch_size={BATCH}", "image_size=260", "image_cache_mb=0"]
    common.append(f"num_workers={threads}")

    def theirs(steps: list[object]) -> Passes:
        return minddata(str(folder), steps, threads)

    for name, (policy, sets) in POLICIES.items():
        config = resolve("CPU", sets=[*common, *sets]).config
        mine = ours(index, config)
        sides = {"ours": mine, "ours, as a dataset": ours_as_dataset(index, config)}
        sides["ours, by Pillow"] = by_pillow(mine)
        measured(f"260 px, {name}", rounds, theirs(minddata_train(260, policy)), sides)
    for resize, how, name in ((280, Inter.BILINEAR, "bilinear"), (292, Inter.BICUBIC, "bicubic")):
        more = [f"eval_resize={resize}", f"interpolation={name}"]
        mine = ours_eval(index, resolve("CPU", sets=[*common, *more]).config)
        work = f"eval {resize} {name}, crop 260"
        sides = {"ours": mine, "ours, by Pillow": by_pillow(mine)}
        measured(work, rounds, theirs(minddata_eval(resize, 260, how)), sides)


def small(folder: Path, threads: int, rounds: int) -> None:
    digits = index_folder(write_digits(folder), "train")
    for name, (policy, sets) in POLICIES.items():
        config = resolve(
            "CPU", sets=["class_num=10", f"batch_size={BATCH}", "image_size=32", *sets]
        ).config
        theirs = minddata(digits.root, minddata_train(32, policy), threads)
        sides = {"ours, 1 thread": ours(digits, config)}
        measured(f"digits at 32 px, {name}", rounds, theirs, sides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    assert compiled.reason() is None, compiled.reason()
    with tempfile.TemporaryDirectory() as folder:
        threads = "1 thread" if args.threads == 1 else f"{args.threads} threads"
        print(f"JPEGs with {threads} each:\n")
        head("work", "by", "images/s", "ratio", "CPU, ms an image", "ratio")
        photos(Path(folder, "jpegs"), args.images, args.threads, args.rounds)
        small(Path(folder, "digits"), args.threads, args.rounds)


if __name__ == "__main__":
    main()
