"""`data digits` and `data check` as a user calls them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from PIL import Image

from effnet.data import DataError, cli


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser.add_subparsers())
    args = parser.parse_args(["data", *words])
    return int(args.run(args))


def test_digits_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "digits")
    assert call("digits", folder) == 0
    assert capsys.readouterr().out == (
        f"{folder}: 1437 training and 360 validation images, 10 classes\n"
    )
    assert call("digits", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": folder, "train": 1437, "val": 360, "classes": 10,
    }  # fmt: skip
    assert call("check", folder) == 0
    text = capsys.readouterr().out
    assert "1437 images in 10 classes, 139 to 146 a class" in text
    assert "360 images in 10 classes" in text
    assert "sizes from 8×8 to 8×8 px" in text
    assert "    0: 142\n" in text


def test_check_names_unreadable_images_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/1.png", "a/2.jpg", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (7, 5)).save(tmp_path / name)
    (tmp_path / "b" / "2.jpg").write_bytes(b"?")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (9, 9)).save(tmp_path / "b" / "3.jpg", exif=exif)
    for flag in ("--dataset_path", "--dataset-path"):
        assert call("check", flag, str(tmp_path)) == 1
        out, err = capsys.readouterr()
        assert f"{tmp_path / 'b' / '2.jpg'}: not an image that can be read" in out
        assert "1 images have an EXIF orientation, which is not applied" in out
        assert err == "1 unreadable images\n"
    assert call("check", str(tmp_path), "--json") == 1
    (report,) = json.loads(capsys.readouterr().out).values()
    assert report["classes"] == {"a": 2, "b": 3}
    assert report["smallest"] == [7, 5]
    assert report["sizes"] == [[7, 5, 3], [9, 9, 1]]
    assert len(report["unreadable"]) == len(report["rotated"]) == 1


def test_digits_into_a_readonly_folder_gives_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="digits cannot be written: File exists") as caught:
        call("digits", str(tmp_path / "file" / "digits"))
    assert "name a folder that you may write to" in str(caught.value)


def test_a_missing_folder_argument_is_named() -> None:
    with pytest.raises(DataError, match="no data folder is given"):
        call("check")


@pytest.mark.parametrize("words", [["--help"], ["digits", "--help"], ["check", "--help"]])
def test_help_has_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call(*words)
    assert caught.value.code == 0
    assert "python -m effnet data check data/digits" in capsys.readouterr().out
