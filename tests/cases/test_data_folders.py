"""Data folders as people have them: what is wrong is reported, and where."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from PIL import Image

from effnet.data.cli import _check
from effnet.data.errors import DataError
from effnet.data.folders import index_folder, splits
from launcher.machine import facts

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


@pytest.mark.parametrize(
    "names", [("train", "val"), ("train", "val", "test"), ("Train", "Val"), ("training", "valid")]
)
@pytest.mark.parametrize("is_flat", [True, False])
def test_013_folders_of_splits_are_not_classes(
    tmp_path: Path, names: tuple[str, ...], is_flat: bool
) -> None:
    for name in names:
        if is_flat:
            flat(tmp_path / name)
        else:
            fill(tmp_path / name, "ant", "bee")
    if not is_flat and "train" in names:
        assert index_folder(tmp_path, "train").classes == ("ant", "bee")
        return
    for split in (None, "train", "val"):
        with pytest.raises(DataError, match="in place of classes"):
            index_folder(tmp_path, split)
    assert "in place of classes" in facts.data(str(tmp_path)).problem


@pytest.mark.parametrize(
    "extra", ["labels.txt", "LOC_val_solution.csv", ".ipynb_checkpoints/0.jpg"]
)
def test_013_other_files_beside_the_images(tmp_path: Path, extra: str) -> None:
    fill(tmp_path / "train", "ant", "bee")
    flat(tmp_path / "val")
    (tmp_path / "val" / extra).parent.mkdir(exist_ok=True)
    (tmp_path / "val" / extra).write_text("x")
    with pytest.raises(DataError, match="val has 3 images and no class folders"):
        _check(str(tmp_path), False)


def test_013_one_class_folder_for_all_images(tmp_path: Path) -> None:
    """As Tiny ImageNet has it: val/images/*.JPEG and a list of labels."""
    fill(tmp_path / "train", "ant", "bee")
    flat(tmp_path / "val/images")
    with pytest.raises(DataError, match=r"only in .*val: images"):
        _check(str(tmp_path), False)


@pytest.mark.parametrize(
    "below", ["ILSVRC/Data/CLS-LOC", "imagenet", "a/b", "set/set", "__MACOSX/../set"]
)
def test_014_parent_of_the_data_set(tmp_path: Path, below: str) -> None:
    fill(tmp_path / below / "train", "ant", "bee")
    (tmp_path / "Annotations").mkdir()
    for split in (None, "train"):
        with pytest.raises(DataError, match="is above the data set") as caught:
            index_folder(tmp_path, split)
        assert os.path.normpath(tmp_path / below) in str(caught.value.hint)


@pytest.mark.parametrize("beside", ["", "README.md", ".DS_Store", "labels.csv"])
def test_014_the_only_folder_holds_the_classes(tmp_path: Path, beside: str) -> None:
    fill(tmp_path / "set", "ant", "bee")
    if beside:
        (tmp_path / beside).write_text("x")
        (tmp_path / "set" / beside).write_text("x")
    with pytest.raises(DataError, match="is above the data set: its only folder set") as caught:
        index_folder(tmp_path)
    assert str(tmp_path / "set") in str(caught.value.hint)


def test_014_one_class_of_several_sessions_is_a_class(tmp_path: Path) -> None:
    """Where images lie beside the folders, or in one folder, nothing says that they are classes."""
    fill(tmp_path / "ant/1", "a")
    assert index_folder(tmp_path).classes == ("ant",)
    fill(tmp_path / "ant", "2", "3")
    Image.new("RGB", (8, 8)).save(tmp_path / "ant/0.jpg")
    assert index_folder(tmp_path).classes == ("ant",)


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


def test_015_a_class_name_that_is_not_utf8(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xb2\xe2"))
    (tmp_path / os.fsdecode(b"caf\xe9/x\xff.jpg")).write_bytes(b"no image")
    done = run_check(tmp_path, "utf-8:strict")
    assert done.returncode == 1
    assert b"2 classes" in done.stdout
    assert done.stdout.count(b": not an image") == 1
    assert b"Traceback" not in done.stderr


def segment(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments: bytes) -> bytes:
    """A JPEG with these segments at its beginning."""
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, "JPEG")
    return made.getvalue()[:2] + b"".join(segments) + made.getvalue()[2:]


APP1 = b"\xff\xe1"
EXIF = b"Exif\0\0II*\0\x08\0\0\0"
ODD_IMAGES = {
    "exif that ends early": jpeg(segment(APP1, EXIF + b"\x05\0\x12\x01")),
    "exif without entries": jpeg(segment(APP1, EXIF)),
    "exif with a bad type": jpeg(segment(APP1, EXIF + b"\x01\0\x12\x01\xff\0\x01\0\0\0\0\0\0\0")),
    "orientation 0": jpeg(segment(APP1, EXIF + b"\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0")),
    "XMP that is not UTF-8": jpeg(
        segment(
            APP1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='1' n='\xa8\xff'/>"
        )
    ),
    "a comment that is not UTF-8": jpeg(segment(b"\xff\xfe", b"caf\xe9")),
}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_016_other_odd_images_are_read_in_silence(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "ant", "bee")
    (tmp_path / "ant/odd.jpg").write_bytes(ODD_IMAGES[name])
    done = run_check(tmp_path, "utf-8")
    assert (done.returncode, done.stderr) == (0, b""), done.stdout


def test_016_exif_warnings_without_a_name(tmp_path: Path) -> None:
    fill(tmp_path, "ant", "bee")
    shutil.copy(INPUTS / "016-exif-warnings-without-a-name/exif-corrupt.JPEG", tmp_path / "ant")
    done = run_check(tmp_path, "utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
