"""The folder to infer: class folders, or images of no known class."""

from __future__ import annotations

import os

import numpy as np

from effnet.data import DataError, ImageIndex, index_folder
from effnet.data.folders import EXTENSIONS, find_split


def find_images(root: str) -> tuple[ImageIndex, bool]:
    """The images of class folders and True, or those directly in `root` and False.

    Raises `DataError` where there are none.
    """
    folder = find_split(root, "val")
    try:
        with os.scandir(folder) as entries:
            listed = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error
    plain = sorted(entry.name for entry in listed if entry.name.lower().endswith(EXTENSIONS))
    if any(entry.is_dir() for entry in listed):
        if plain:
            raise DataError(
                f"{folder} has both class folders and images beside them, such as {plain[0]}",
                hint="images of no known class belong in a folder without folders",
            )
        return index_folder(folder), True
    if not plain:
        raise DataError(
            f"{folder} has no images", hint=f"images end in {' '.join(EXTENSIONS)}, in any case"
        )
    names = [os.fsencode(name) for name in plain]
    offsets = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) for name in names], out=offsets[1:])
    labels = np.zeros(len(names), np.int32)
    # A class without a name: its folder is `root` itself.
    return ImageIndex(folder, ("",), labels, b"".join(names), offsets), False
