"""``python -m effnet data digits|check|imagenet``."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from effnet import flags
from effnet.data.decode import inspect
from effnet.data.digits import TRAIN, VAL, write_digits
from effnet.data.errors import DataError, UnreadableImage
from effnet.data.folders import ImageIndex, index_folder, require_same_classes, splits

_EXAMPLES = """\
examples:
  python -m effnet data digits data/digits
      writes 1,437 training and 360 validation images of handwritten digits
  python -m effnet data imagenet --train ILSVRC2012_img_train.tar --val ILSVRC2012_img_val.tar \\
      --labels ILSVRC2012_devkit_t12.tar.gz --out /data/imagenet
  python -m effnet data check data/digits
      decodes every image; exit code 1 when one can't be read
  python -m effnet data check --dataset_path /data/imagenet --json
"""


def add_arguments(commands: Any) -> None:
    about = "write the digits or ImageNet as class folders, or check a folder of images"
    data = flags.command(commands, "data", about, _EXAMPLES, run)
    kinds = {
        "digits": "write scikit-learn's handwritten digits as folders of PNG files",
        "imagenet": "write ImageNet's archives as class folders; repeat it after an interruption",
        "check": "decode every image; report classes, sizes and unreadable images",
    }
    digits, imagenet, check = flags.actions(data, _EXAMPLES, kinds)
    archives = {
        "train TAR": "ILSVRC2012_img_train.tar, with a tar for each class",
        "val TAR": "ILSVRC2012_img_val.tar, with all images in one folder",
        "labels FILE": "ILSVRC2012_devkit_t12.tar.gz, or a text file: IMAGE CLASS on each line, or"
        " only the class of each image in the order of their names",
        "out DIR": "data folder to write",
    }
    for spec, text in archives.items():
        flags.add(imagenet, spec, text, type=Path, required=True)
    flags.add_json(imagenet)
    for action in (digits, check):
        action.add_argument("folder", metavar="DIR", nargs="?", help="the data folder")
        flags.add(action, "dataset_path DIR", "the same as DIR")
        flags.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Carry out ``data …``; the exit code."""
    if args.action == "imagenet":
        return _imagenet(args)
    folder = args.folder or args.dataset_path
    if not folder:
        raise DataError("no data folder is given", hint=f"python -m effnet data {args.action} DIR")
    return _digits(folder, args.json) if args.action == "digits" else _check(folder, args.json)


def _digits(folder: str, as_json: bool) -> int:
    path = write_digits(folder)
    if as_json:
        print(json.dumps({"path": str(path), "train": TRAIN, "val": VAL, "classes": 10}))
    else:
        print(f"{path}: {TRAIN} training and {VAL} validation images, 10 classes")
    return 0


def _imagenet(args: argparse.Namespace) -> int:
    from effnet.data.imagenet import COUNTS, prepare

    whole, shows = COUNTS["train"] + COUNTS["val"], sys.stderr.isatty()

    def progress(count: int) -> None:
        if shows and count % 1000 == 0:
            bar = "#" * (40 * count // whole)
            print(f"\r[{bar:<40}] {count:,} of {whole:,}", end="", file=sys.stderr, flush=True)

    found = prepare(args.train, args.val, args.labels, args.out, progress)
    if shows:
        print(file=sys.stderr)
    if args.json:
        differences = found.differences()
        print(json.dumps({**dataclasses.asdict(found), "differences": differences}))
    else:
        print(
            f"{args.out}: {found.train:,} training and {found.val:,} validation images,"
            f" {found.classes:,} classes"
        )
        for difference in found.differences():
            print(f"note: {difference}")
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    if found.problems:
        print("  → download the archive again, then repeat the command", file=sys.stderr)
    return 1 if found.problems else 0


def _check(folder: str, as_json: bool) -> int:
    indices = {split or "all": index_folder(folder, split) for split in splits(folder)}
    reports = {name: check_images(index) for name, index in indices.items()}
    if "train" in indices and "val" in indices:
        require_same_classes(indices["val"], indices["train"].classes, indices["train"].root)
    if as_json:
        print(json.dumps({name: dataclasses.asdict(report) for name, report in reports.items()}))
    else:
        print("\n\n".join(report.text() for report in reports.values()))
    bad = sum(len(report.unreadable) for report in reports.values())
    if bad:
        print(f"{bad} unreadable images", file=sys.stderr)
    return 1 if bad else 0


@dataclasses.dataclass(frozen=True)
class Report:
    """What is in one folder; sizes in pixels, ``sizes`` the commonest (width, height, count)."""

    root: str
    images: int
    classes: dict[str, int]
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    sizes: list[tuple[int, int, int]]
    unreadable: list[tuple[str, str]]
    rotated: list[str]

    def text(self) -> str:
        counts = self.classes.values()
        lines = [
            f"{self.root}",
            f"  {self.images} images in {len(self.classes)} classes,"
            f" {min(counts)} to {max(counts)} a class",
        ]
        few = len(self.classes) <= 20
        lines += [f"    {name}: {count}" for name, count in self.classes.items()] if few else []
        if self.smallest and self.largest:
            lines.append(
                f"  sizes from {_size(self.smallest)} to {_size(self.largest)} px, mostly "
                + ", ".join(f"{_size((w, h))} ({n})" for w, h, n in self.sizes[:3])
            )
        if self.rotated:
            lines.append(
                f"  {len(self.rotated)} images have an EXIF orientation, which is not applied:"
                f" {self.rotated[0]}"
            )
        lines.append(f"  {len(self.unreadable)} unreadable")
        lines += [f"    {path}: {reason}" for path, reason in self.unreadable]
        return "\n".join(lines)


def check_images(index: ImageIndex) -> Report:
    """Decode every image of ``index``."""

    def examine(i: int) -> tuple[str, tuple[int, int] | str, bool]:
        path = index.path(i)
        try:
            size, turned = inspect(path)
        except UnreadableImage as error:
            return path, error.message, False
        return path, size, turned

    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    unreadable: list[tuple[str, str]] = []
    rotated: list[str] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # In rounds, since every image of ImageNet as a pending call would fill the memory.
        for start in range(0, len(index), 4096):
            for path, found, turned in pool.map(
                examine, range(start, min(start + 4096, len(index)))
            ):
                if isinstance(found, str):
                    unreadable.append((path, found))
                    continue
                sizes[found] += 1
                if turned:
                    rotated.append(path)
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return Report(
        index.root,
        len(index),
        index.counts(),
        by_area[0] if by_area else None,
        by_area[-1] if by_area else None,
        [(width, height, count) for (width, height), count in sizes.most_common(10)],
        unreadable,
        rotated,
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
