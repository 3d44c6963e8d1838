"""ImageNet's archives as class folders: nested training tars, and flat validation images.

The archives are those of image-net.org: ILSVRC2012_img_train.tar holds one tar for each class,
ILSVRC2012_img_val.tar the images without classes. An image that is already there with the right
size is not written again, so an interrupted call is repeated as it was.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from effnet.data.errors import DataError

CLASS = re.compile(r"n\d{8}")
_NAME = re.compile(r"[\w.-]+\.JPEG", re.IGNORECASE)
COUNTS = {"classes": 1000, "train": 1_281_167, "val": 50_000}
"""What ILSVRC2012 has."""


@dataclass
class Prepared:
    """Images in place, and the parts of the archives that cannot be read."""

    classes: int = 0
    train: int = 0
    val: int = 0
    problems: list[str] = field(default_factory=list)

    def differences(self) -> list[str]:
        """Where the counts are not ImageNet's."""
        found = {"classes": self.classes, "train": self.train, "val": self.val}
        return [
            f"{found[name]:,} {'classes' if name == 'classes' else f'images in {name}/'},"
            f" ImageNet has {count:,}"
            for name, count in COUNTS.items()
            if found[name] != count
        ]


def prepare(
    train: Path,
    val: Path,
    labels: Path,
    out: Path,
    on_image: Callable[[int], object] = lambda count: None,
) -> Prepared:
    """Write ``out/train/CLASS`` and ``out/val/CLASS``; ``on_image`` gets the number in place.

    A damaged part is noted, and the rest is written. Raises :class:`DataError` for an archive or a
    file of labels that cannot be used.
    """
    classes = val_classes(labels)
    found = Prepared()
    try:
        with _opened(train) as outer:
            for member in _members(outer, str(train), found):
                name = Path(member.name).stem
                if not member.isfile() or not CLASS.fullmatch(name):
                    found.problems.append(f"{train}: {member.name} is not the tar of a class")
                    continue
                found.classes += 1
                inner = outer.extractfile(member)
                assert inner is not None
                for image, size, data in _images(inner, f"{train}: {member.name}", found):
                    found.train += 1
                    _place(out / "train" / name / image, size, data)
                    on_image(found.train + found.val)
        with val.open("rb") as file:
            for image, size, data in _images(file, str(val), found):
                name = classes.get(image, "")
                if not name:
                    found.problems.append(f"{val}: {image} is not in {labels}")
                    continue
                found.val += 1
                _place(out / "val" / name / image, size, data)
                on_image(found.train + found.val)
    except OSError as error:
        where = error.filename or out
        raise DataError(
            f"{where}: {error.strerror or error}",
            hint="fix it and repeat the command: images that are in place are not written again",
        ) from error
    return found


def val_classes(labels: Path) -> dict[str, str]:
    """Validation image -> class, from the devkit's tar.gz or a text file.

    A line of the text is ``IMAGE CLASS``, or only the class of the next image in the order of the
    names. Raises :class:`DataError`.
    """
    try:
        with labels.open("rb") as file:
            is_tar = tarfile.is_tarfile(file)
        names = _of_devkit(labels) if is_tar else labels.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, tarfile.TarError, KeyError, ValueError) as error:
        raise DataError(
            f"{labels}: cannot be read as the classes of the validation images: {error}",
            hint="give ILSVRC2012_devkit_t12.tar.gz, or a text file with IMAGE CLASS on each line",
        ) from error
    found = {}
    for number, line in enumerate(filter(None, map(str.strip, names)), start=1):
        image, _, name = line.rpartition(" ")
        if not CLASS.fullmatch(name):
            raise DataError(
                f"{labels}, line {number}: {name!r} is not a class such as n01440764",
                hint="each line is IMAGE CLASS, or only the class",
            )
        found[image.strip() or f"ILSVRC2012_val_{number:08d}.JPEG"] = name
    return found


def _of_devkit(path: Path) -> list[str]:
    """The class of each validation image, in order."""
    # Slow to import; scikit-learn, which writes the digits, brings it.
    from scipy.io import loadmat

    texts: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member) if member.isfile() else None
            if file and name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
                texts[name] = file.read()
    synsets = loadmat(io.BytesIO(texts["meta.mat"]), squeeze_me=True)["synsets"]
    names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    numbers = texts["ILSVRC2012_validation_ground_truth.txt"].split()
    return [names[int(number)] for number in numbers]


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, mode="r:")
    except tarfile.TarError as error:
        raise DataError(
            f"{path}: is not a tar archive: {error}", hint="download it again"
        ) from error


def _members(archive: tarfile.TarFile, where: str, found: Prepared) -> Iterator[tarfile.TarInfo]:
    try:
        yield from archive
    except (tarfile.TarError, EOFError) as error:
        found.problems.append(f"{where}: damaged: {error}")


def _images(file: IO[bytes], where: str, found: Prepared) -> Iterator[tuple[str, int, bytes]]:
    """Name, size and content of each image of an archive; what is damaged is noted."""
    try:
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 closed below
    except tarfile.TarError as error:
        found.problems.append(f"{where}: damaged: {error}")
        return
    with archive:
        for member in _members(archive, where, found):
            name = Path(member.name).name
            if not member.isfile() or not _NAME.fullmatch(name):
                continue
            content = archive.extractfile(member)
            assert content is not None
            try:
                data = content.read()
            except tarfile.TarError as error:
                found.problems.append(f"{where}: damaged at {name}: {error}")
                return
            yield name, member.size, data


def _place(path: Path, size: int, data: bytes) -> None:
    """Write an image completely or not at all; one that is there stays."""
    if path.is_file() and path.stat().st_size == size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(data)
    aside.replace(path)
