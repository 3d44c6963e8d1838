"""The classes that a network was trained on, and those of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from effnet.data import DataError, ImageIndex


def require_classes(
    images: ImageIndex, names: Sequence[str] | None, count: int | None, trained: str
) -> None:
    """Raises `DataError` that lists the classes that only one of the two has.

    `names` in the order of the logits where they are known, else only their `count` is compared;
    `trained` is the file they come from.
    """
    if names is None:
        if count is not None and len(images.classes) != count:
            raise DataError(
                f"{images.root} has {len(images.classes)} classes, {trained} {count}, so labels"
                " would not mean the same"
            )
        return
    if tuple(names) == images.classes:
        return
    only_trained = [name for name in names if name not in set(images.classes)]
    only_folder = [name for name in images.classes if name not in set(names)]
    lines = [
        f"the classes of {trained} ({len(names)}) and {images.root} ({len(images.classes)}) differ,"
        " so labels would not mean the same",
        f"  only in {trained}: {_some(only_trained)}",
        f"  only in {images.root}: {_some(only_folder)}",
    ]
    if not only_trained and not only_folder:
        lines = [f"{trained} has the classes of {images.root} in another order"]
    raise DataError("\n".join(lines))


def _some(names: Sequence[str], first: int = 10) -> str:
    more = f" and {len(names) - first} more" if len(names) > first else ""
    return (", ".join(names[:first]) or "none") + more
