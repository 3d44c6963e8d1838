"""Data folders as people have them: what is wrong is reported, and where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from PIL import Image

from effnet.data.cli import _check
from effnet.data.errors import DataError
from effnet.data.folders import index_folder, splits

INPUTS = Path(__file__).parent / "inputs"


def fill(folder: Path, *classes: str) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / name / "0.jpg")
    return folder


def flat(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.JPEG")
    return folder


@pytest.mark.parametrize("bad", ["val", "train"])
def test_013_val_without_class_folders(tmp_path: Path, bad: str) -> None:
    good = {"val": "train", "train": "val"}[bad]
    fill(tmp_path / good, "ant", "bee")
    flat(tmp_path / bad)
    message = f"{bad} has 3 images and no class folders"
    with pytest.raises(DataError, match=message):
        _check(str(tmp_path), False)
    for split in ("train", "val"):
        with pytest.raises(DataError, match=message):
            index_folder(tmp_path, split)


def test_013_an_empty_val_is_not_a_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", "ant", "bee")
    (tmp_path / "val").mkdir()
    assert splits(tmp_path) == ("train",)
    with pytest.raises(DataError, match="no folder 'val' with class folders"):
        index_folder(tmp_path, "val")


@pytest.mark.parametrize("below", ["ILSVRC/Data/CLS-LOC", "imagenet", "a/b"])
def test_014_parent_of_the_data_set(tmp_path: Path, below: str) -> None:
    fill(tmp_path / below / "train", "ant", "bee")
    (tmp_path / "Annotations").mkdir()
    for split in (None, "train"):
        with pytest.raises(DataError, match="is above the data set") as caught:
            index_folder(tmp_path, split)
        assert str(tmp_path / below) in str(caught.value.hint)


def test_014_a_data_set_with_nested_classes_is_not_a_parent(tmp_path: Path) -> None:
    fill(tmp_path / "ant/session/1", "left")
    fill(tmp_path / "train", "left")
    fill(tmp_path / "bee", "x")
    shutil.rmtree(tmp_path / "train")
    assert index_folder(tmp_path).classes == ("ant", "bee")


def run_check(folder: Path, encoding: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "effnet", "data", "check", str(folder)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        cwd=Path(__file__).parents[2],
        check=False,
    )


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1:strict"])
def test_015_file_name_not_utf8(tmp_path: Path, encoding: str) -> None:
    fill(tmp_path, "ant", "bee")
    for name in (b"caf\xe9.jpg", b"b\xff.jpg", "grün.jpg".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path / "ant") + b"/" + name)).write_bytes(b"no image")
    done = run_check(tmp_path, encoding)
    assert done.returncode == 1
    assert b"3 unreadable" in done.stdout
    assert done.stdout.count(b": not an image") == 3
    assert b"Traceback" not in done.stderr


def test_016_exif_warnings_without_a_name(tmp_path: Path) -> None:
    fill(tmp_path, "ant", "bee")
    shutil.copy(INPUTS / "016-exif-warnings-without-a-name/exif-corrupt.JPEG", tmp_path / "ant")
    done = run_check(tmp_path, "utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
