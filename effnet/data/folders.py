"""Index an ImageNet-style folder: one sub-folder a class, images anywhere below it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effnet import missing
from effnet.data.errors import DataError

SPLITS = ("train", "val")
_SPLIT_WORDS = {*SPLITS, "training", "valid", "validation", "test", "testing"}
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".gif", ".tif", ".tiff")
WHICH = f"images end in {' '.join(EXTENSIONS)}, in any case"


@dataclasses.dataclass(frozen=True, eq=False)
class ImageIndex:
    """The images of one folder, sorted by class and then by name.

    Names are one string of bytes with offsets, since 1.3 million Python strings weigh 100 MB a
    rank. ``labels`` are int32 positions in ``classes``.
    """

    root: str
    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    names: bytes
    offsets: NDArray[np.int64]
    decoded: dict[int, Any] = dataclasses.field(default_factory=dict, repr=False)
    """Decoded images by index, where the whole set is small enough to keep."""

    @classmethod
    def of(
        cls, root: str, classes: Iterable[str], labels: list[int], names: list[bytes]
    ) -> ImageIndex:
        offsets = np.zeros(len(names) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in names], out=offsets[1:])
        every = np.asarray(labels, dtype=np.int32)
        return cls(root, tuple(classes), every, b"".join(names), offsets)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """Path below the class's folder."""
        return os.fsdecode(self.names[self.offsets[i] : self.offsets[i + 1]])

    def path(self, i: int) -> str:
        return os.path.join(self.root, self.classes[self.labels[i]], self.name(i))

    def counts(self) -> dict[str, int]:
        """Images of each class."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over classes and names: the same value means the same order of images."""
        digest = hashlib.sha256()
        for part in self.classes:
            digest.update(os.fsencode(part) + b"\0")
        digest.update(self.names)
        digest.update(self.offsets.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def index_folder(
    root: str | os.PathLike[str], split: str | None = None, class_num: int | None = None
) -> ImageIndex:
    """Index ``root``, or its sub-folder ``split`` (``train`` or ``val``) if it has one.

    Raises :class:`DataError` for a missing folder, no class folders, classes without images, and
    for a number of classes other than ``class_num``.
    """
    folder = find_split(root, split)
    classes = sorted(entry.name for entry in entries_of(folder) if entry.is_dir())
    if not classes:
        raise DataError(
            f"{folder} has no class folders", hint="expected FOLDER/CLASS/IMAGE.jpg, as ImageNet"
        )
    if len(classes) > 1 and {name.lower() for name in classes} <= _SPLIT_WORDS:
        raise DataError(
            f"{folder} has the folders {' and '.join(classes)} in place of classes",
            hint="expected train/CLASS/IMAGE.jpg and val/CLASS/IMAGE.jpg: name the folders so, and"
            " sort images into class folders",
        )
    below = _data_set_below(folder, classes)
    if below is not None:
        raise DataError(
            f"{folder} is above the data set: {below} holds {' and '.join(_with_classes(below))}",
            hint=f"use {below} as the data folder",
        )
    only = os.path.join(folder, classes[0])
    if len(classes) == 1 and len(inner := _only_folders(only)) > 1:
        raise DataError(
            f"{folder} is above the data set: its only folder {classes[0]} has no images of its"
            f" own, but {len(inner)} folders: {_some(inner)}",
            hint=f"use {only} as the data folder",
        )
    labels: list[int] = []
    names: list[bytes] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        found = sorted(_images(os.path.join(folder, name)))
        names += found
        labels += [label] * len(found)
        if not found:
            empty.append(name)
    if not names:
        raise DataError(
            f"{folder} has {len(classes)} class folders but no images",
            hint=WHICH,
        )
    if empty:
        raise DataError(
            f"{len(empty)} of {len(classes)} classes in {folder} have no images: {_some(empty)}",
            hint=WHICH,
        )
    if class_num is not None and len(classes) != class_num:
        raise DataError(
            f"{folder} has {len(classes)} classes, class_num is {class_num}",
            hint=f"set class_num = {len(classes)}, or check that {folder} is the right folder",
        )
    return ImageIndex.of(folder, classes, labels, names)


def find_split(root: str | os.PathLike[str], split: str | None) -> str:
    """``root/split`` where ``root`` holds ``train`` and ``val``, else ``root`` itself."""
    found = splits(root)
    if split is None or found == (None,):
        return os.fspath(root)
    if split not in found:
        raise DataError(f"{root} has no folder {split!r} with class folders; it has {found[0]!r}")
    return os.path.join(root, split)


def splits(root: str | os.PathLike[str]) -> tuple[str | None, ...]:
    """Which of ``train`` and ``val`` hold class folders below ``root``; ``(None,)`` if neither.

    A class that happens to be called ``train`` holds images, not folders. Raises
    :class:`DataError` when ``root`` is no folder.
    """
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(
            f"the data folder {os.fspath(root)} {what}",
            hint=missing.hint(root, "python -m effnet data digits DIR writes one to try"),
        )
    found = _with_classes(os.fspath(root))
    for name in SPLITS:
        folder = os.path.join(root, name)
        if found and name not in found and os.path.isdir(folder):
            images = sum(entry.name.lower().endswith(EXTENSIONS) for entry in entries_of(folder))
            if images:
                raise DataError(
                    f"{folder} has {images} images and no class folders",
                    hint=f"sort them into folders named as those of {root}/{found[0]}, or move"
                    f" {folder} away",
                )
    return found or (None,)


def _with_classes(root: str) -> tuple[str, ...]:
    """Which of ``train`` and ``val`` hold class folders below ``root``."""
    folders = {name: os.path.join(root, name) for name in SPLITS}
    return tuple(
        name
        for name, folder in folders.items()
        if os.path.isdir(folder) and any(entry.is_dir() for entry in entries_of(folder))
    )


def _only_folders(folder: str) -> list[str]:
    """The folders in ``folder``; none where images lie beside them."""
    found = entries_of(folder)
    if any(entry.name.lower().endswith(EXTENSIONS) for entry in found):
        return []
    return sorted(entry.name for entry in found if entry.is_dir())


MAX_DEPTH = 5
MAX_BREADTH = 8


def _data_set_below(folder: str, classes: list[str]) -> str | None:
    """The folder with ``train`` or ``val`` that ``folder`` holds in place of classes, if any.

    Only where ``folder`` holds few folders: a set of many classes is no parent of one.
    """
    pending = [(os.path.join(folder, name), 1) for name in classes]
    if len(pending) > MAX_BREADTH:
        return None
    while pending:
        place, depth = pending.pop(0)
        if _with_classes(place):
            return place
        below = [entry for entry in entries_of(place) if entry.is_dir(follow_symlinks=False)]
        if depth < MAX_DEPTH and len(below) <= MAX_BREADTH:
            pending += [(entry.path, depth + 1) for entry in below]
    return None


def require_same_classes(
    images: ImageIndex, names: Sequence[str] | None, source: str, count: int | None = None
) -> None:
    """Raises :class:`DataError` unless ``images`` have the classes of ``source``, in their order.

    Where ``names`` of those are not known, only the number of classes is compared.
    """
    if names is None:
        if count is not None and len(images.classes) != count:
            raise DataError(
                f"{images.root} has {len(images.classes)} classes, {source} {count}, so labels"
                " would not mean the same"
            )
        return
    if tuple(names) == images.classes:
        return
    only_source = [name for name in names if name not in set(images.classes)]
    only_images = [name for name in images.classes if name not in set(names)]
    if not only_source and not only_images:
        raise DataError(f"{source} has the classes of {images.root} in another order")
    raise DataError(
        f"the classes of {source} ({len(names)}) and {images.root} ({len(images.classes)}) differ,"
        " so labels would not mean the same\n"
        f"  only in {source}: {_some(only_source) or 'none'}\n"
        f"  only in {images.root}: {_some(only_images) or 'none'}"
    )


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """What is in ``folder``, hidden names left out."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error


def _images(folder: str) -> list[bytes]:
    """Names below ``folder`` of the images in it and in its sub-folders, as bytes.

    Links to folders below a class are not followed: they can lead in circles.
    """
    found: list[bytes] = []
    pending = [""]
    while pending:
        below = pending.pop()
        for entry in entries_of(os.path.join(folder, below)):
            name = os.path.join(below, entry.name)
            if entry.name.lower().endswith(EXTENSIONS):
                found.append(os.fsencode(name))
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name)
    return found


def _some(names: Sequence[str], first: int = 10) -> str:
    more = f" and {len(names) - first} more" if len(names) > first else ""
    return ", ".join(names[:first]) + more


def eval_index(
    data_path: str, eval_path: str, class_num: int, train: ImageIndex
) -> ImageIndex | None:
    """The images to evaluate on, or `None` where the data set has none.

    Raises as `index_folder` and `require_same_classes` do. An empty `eval_path` is not given.
    """
    if not eval_path and Path(find_split(data_path, "train")) == Path(data_path):
        return None
    images = index_folder(eval_path or data_path, "val", class_num)
    require_same_classes(images, train.classes, train.root)
    return images
