"""Predictions as rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from effnet.data import BadImages, ImageIndex
from effnet.infer.predict import Predictions
from effnet.weights.files import replacing

COLUMNS = ("image", "label", "predicted", "probability", "unreadable")


def rows(
    images: ImageIndex,
    found: Predictions,
    names: Sequence[str] | None,
    bad_images: BadImages,
) -> Iterator[tuple[str, str, str, str, str]]:
    """COLUMNS of each image, in the folder's order.

    `image` is the path below the folder, `label` its folder's name, `predicted` a class's name,
    or its number where the model has no names; `unreadable` is the reason, or empty.
    """
    reasons = dict(bad_images.items)
    for i in range(len(images)):
        path = images.path(i)
        label = images.classes[images.labels[i]]
        chosen = int(found.predicted[i])
        shown = os.path.relpath(path, images.root)
        if chosen < 0:
            yield shown, label, "", "", reasons.get(path, "not readable")
            continue
        name = str(chosen) if names is None else names[chosen]
        yield shown, label, name, f"{found.probability[i]:.6f}", ""


def write(path: Path, lines: Iterator[tuple[str, str, str, str, str]]) -> None:
    """A CSV file with a header, whole or not at all."""
    with (
        replacing(path) as aside,
        aside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(lines)
