"""Indexing folders, and the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnet.data import DataError, index_folder, require_same_classes
from effnet.data.digits import write_digits
from effnet.data.folders import find_split, splits


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name, format="png")
    return folder


def test_classes_and_files_are_sorted_by_name(tmp_path: Path) -> None:
    root = put(
        tmp_path / "dätä set's",
        "b/2.PNG", "b/1.jpg", "ä ö/x.JPeG", "a/deep/er/3.webp", "a/9.tif", "a/.hidden.png",
    )  # fmt: skip
    (root / "a" / "notes.txt").write_text("no image")
    (root / "README.md").write_text("no class")
    (root / ".cache").mkdir()
    index = index_folder(root)
    assert index.classes == ("a", "b", "ä ö")
    assert index.labels.tolist() == [0, 0, 1, 1, 2]
    assert index.labels.dtype == np.int32
    names = [index.name(i) for i in range(len(index))]
    assert names == ["9.tif", "deep/er/3.webp", "1.jpg", "2.PNG", "x.JPeG"]
    assert all(Path(index.path(i)).is_file() for i in range(len(index)))
    assert index.counts() == {"a": 2, "b": 2, "ä ö": 1}


def test_splits_are_found_and_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    both = put(tmp_path / "both", "train/a/1.png", "val/a/2.png", "val/a/3.png")
    assert splits(both) == ("train", "val")
    assert (len(index_folder(both, "train")), len(index_folder(both, "val"))) == (1, 2)
    flat = put(tmp_path / "flat", "train/1.png", "car/2.png")
    assert splits(flat) == (None,)
    assert index_folder(flat, "val").classes == ("car", "train")
    one = put(tmp_path / "one", "train/a/1.png")
    with pytest.raises(DataError, match=r"has no folder 'val' with class folders; it has 'train'"):
        find_split(one, "val")


def test_errors_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        index_folder(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match="is not a folder"):
        index_folder(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no class folders"):
        index_folder(empty)
    (empty / "a").mkdir()
    with pytest.raises(DataError, match="1 class folders but no images"):
        index_folder(empty)
    some = put(tmp_path / "some", "a/1.png", "c/1.png")
    for name in ("b", "d"):
        (some / name).mkdir()
    with pytest.raises(DataError, match=r"2 of 4 classes in .* have no images: b, d"):
        index_folder(some)
    with pytest.raises(DataError, match=r"has 2 classes, class_num is 10"):
        index_folder(put(tmp_path / "two", "a/1.png", "c/1.png"), class_num=10)


def test_differing_classes_are_named_on_both_sides(tmp_path: Path) -> None:
    train = index_folder(put(tmp_path / "train", "a/1.png", "b/1.png"))
    val = index_folder(put(tmp_path / "val", "b/1.png", "c/1.png", "d/1.png"))
    require_same_classes(train, train.classes, train.root)
    with pytest.raises(DataError) as caught:
        require_same_classes(val, train.classes, train.root)
    assert f"only in {train.root}: a\n" in str(caught.value)
    assert f"only in {val.root}: c, d" in str(caught.value)


def test_circular_links_end(tmp_path: Path) -> None:
    root = put(tmp_path / "data", "a/1.png")
    (root / "a" / "again").symlink_to(root / "a")
    (root / "b").symlink_to(root / "a")
    assert index_folder(root).counts() == {"a": 1, "b": 1}


def test_fingerprint_changes_with_any_name_and_no_content(tmp_path: Path) -> None:
    names = ["a/1.png", "a/2.png", "b/1.png"]
    one = index_folder(put(tmp_path / "one", *names)).fingerprint
    assert index_folder(put(tmp_path / "two", *names)).fingerprint == one
    moved = index_folder(put(tmp_path / "three", "a/1.png", "b/2.png", "b/1.png")).fingerprint
    assert moved != one


def test_digits_are_written_completely_once_and_always_equal(tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "my digits")
    train, val = index_folder(folder, "train", 10), index_folder(folder, "val", 10)
    require_same_classes(val, train.classes, train.root)
    assert (len(train), len(val)) == (1437, 360)
    assert max(val.counts().values()) - min(val.counts().values()) <= 2
    names = {(index.labels[i], index.name(i)) for index in (train, val) for i in range(len(index))}
    assert len(names) == 1797
    assert train.fingerprint[:16] == "052a86d0bf5363a0"
    with Image.open(train.path(0)) as image:
        assert (image.size, image.mode) == ((8, 8), "RGB")
    made = Path(train.path(0)).stat().st_mtime_ns
    assert write_digits(folder) == folder
    assert Path(train.path(0)).stat().st_mtime_ns == made
    assert [p.name for p in tmp_path.iterdir()] == ["my digits"]


def test_digits_do_not_overwrite_and_an_unfinished_set_is_named(tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits")
    next((folder / "val").rglob("*.png")).unlink()
    with pytest.raises(DataError, match="not a complete digits data set"):
        write_digits(folder)
