"""The folder to infer: class folders, or images of no known class."""

from __future__ import annotations

import os

from effnet.data import DataError, ImageIndex, index_folder
from effnet.data.folders import EXTENSIONS, WHICH, entries_of, find_split


def find_images(root: str) -> tuple[ImageIndex, bool]:
    """The images of class folders and True, or those directly in `root` and False.

    Raises `DataError` where there are none.
    """
    folder = find_split(root, "val")
    listed = entries_of(folder)
    plain = sorted(entry.name for entry in listed if entry.name.lower().endswith(EXTENSIONS))
    if any(entry.is_dir() for entry in listed):
        if plain:
            raise DataError(
                f"{folder} has both class folders and images beside them, such as {plain[0]}",
                hint="images of no known class belong in a folder without folders",
            )
        return index_folder(folder), True
    if not plain:
        raise DataError(f"{folder} has no images", hint=WHICH)
    names = [os.fsencode(name) for name in plain]
    # A class without a name: its folder is `root` itself.
    return ImageIndex.of(folder, ("",), [0] * len(names), names), False
