"""``python -m effnet data digits DIR`` and ``python -m effnet data check DIR``."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
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
  python -m effnet data check data/digits
      decodes every image; exit code 1 when one can't be read
  python -m effnet data check --dataset_path /data/imagenet --json
"""


def add_arguments(commands: Any) -> None:
    about = "write the digits data set, or check a folder of images"
    data = flags.command(commands, "data", about, _EXAMPLES, run)
    kinds = {
        "digits": "write scikit-learn's handwritten digits as folders of PNG files",
        "check": "decode every image; report classes, sizes and unreadable images",
    }
    for action in flags.actions(data, _EXAMPLES, kinds):
        action.add_argument("folder", metavar="DIR", nargs="?", help="the data folder")
        flags.add(action, "dataset_path DIR", "the same as DIR")
        flags.add_json(action)


def run(args: argparse.Namespace) -> int:
    """Carry out ``data …``; the exit code."""
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
