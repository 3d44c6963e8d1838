"""A small real data set that ships in a package: scikit-learn's handwritten digits."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from effnet.data.errors import DataError
from effnet.data.rng import stream

TRAIN, VAL = 1437, 360
_MARK = "digits.json"


def write_digits(folder: str | os.PathLike[str]) -> Path:
    """``folder/train`` and ``folder/val`` with 1,437 and 360 PNGs of 8 × 8 pixels, 10 classes.

    The split is stratified and always the same. Everything is written aside and renamed at the
    end; a complete data set is not written again. Raises :class:`DataError` when ``folder`` holds
    something else or cannot be written.
    """
    target = Path(folder)
    if _is_whole(target):
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            f"{target} already exists and is not a complete digits data set",
            hint="name another folder, or remove this one",
        )
    try:
        _write(target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="name a folder that you may write to, on a disk with 10 MB of free space",
        ) from error
    return target


def _write(target: Path) -> None:
    """Raises `OSError`."""
    # Slow to import, and needed only when the set is made.
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.clip(np.rint(data.images * 255 / 16), 0, 255).astype(np.uint8)
    val = _validation(data.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        aside.chmod(0o755)
        for i, (image, label) in enumerate(zip(pixels, data.target, strict=True)):
            into = aside / ("val" if val[i] else "train") / str(label)
            into.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).convert("RGB").save(into / f"{i:04d}.png")
        counts = {"train": int((~val).sum()), "val": int(val.sum()), "classes": 10}
        (aside / _MARK).write_text(json.dumps(counts) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _validation(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool mask of 360 images, each class with its share (largest remainders first)."""
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * VAL / len(labels)
    wanted = np.floor(shares).astype(int)
    short = VAL - int(wanted.sum())
    wanted[np.argsort(wanted - shares, kind="stable")[:short]] += 1
    mask = np.zeros(len(labels), dtype=bool)
    for label, count in zip(classes, wanted, strict=True):
        members = np.flatnonzero(labels == label)
        draws = stream("digits", int(label)).bit_generator.random_raw(len(members))
        mask[members[np.argsort(draws, kind="stable")[:count]]] = True
    return mask


def _is_whole(folder: Path) -> bool:
    if not (folder / _MARK).is_file():
        return False
    found = {split: sum(1 for _ in (folder / split).glob("*/*.png")) for split in ("train", "val")}
    return found == {"train": TRAIN, "val": VAL}
