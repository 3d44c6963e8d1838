"""The reference's flags for mounted folders, and its positional evaluation."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from effnet import modelarts
from effnet.__main__ import main
from effnet.errors import UsageError


def parsed(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    modelarts.add_arguments(parser)
    return parser.parse_args(list(map(str, words)))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mounted folder; local disks are below `tmp_path`."""
    local = tmp_path / "local disk"
    local.mkdir()
    monkeypatch.setattr(modelarts, "FAST_DISK", local)
    folder = tmp_path / "mounted"
    for name in ("train/a/1.png", "train/b/2.png", "val/a/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_data_is_copied_in_once_and_follows_its_source(source: Path, tmp_path: Path) -> None:
    args = parsed("--run_modelarts", "True", "--data_url", source)
    local = Path(modelarts.local_data(args) or "")
    assert local.parent == tmp_path / "local disk"
    assert files(local) == files(source)
    before = (local / "train/a/1.png").stat().st_ino
    (source / "train/b/2.png").write_text("another")
    (source / "val/a/3.png").unlink()
    (source / "val/a/4.png").write_text("new")
    assert modelarts.local_data(args) == str(local)
    assert files(local) == files(source)
    assert (local / "train/a/1.png").stat().st_ino == before


def test_checkpoints_are_copied_out_with_links_as_files(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoint"
    (checkpoints / "model_0").mkdir(parents=True)
    (checkpoints / "step-00000045.ckpt").write_text("weights")
    os.symlink("../step-00000045.ckpt", checkpoints / "model_0/Efficientnet_b2-rank0-1_45.ckpt")
    out = tmp_path / "out"
    assert modelarts.copy_out(checkpoints, str(out)) == out / "checkpoint"
    assert set(files(out)) == {
        "checkpoint/step-00000045.ckpt",
        "checkpoint/model_0/Efficientnet_b2-rank0-1_45.ckpt",
    }
    assert not (out / "checkpoint/model_0/Efficientnet_b2-rank0-1_45.ckpt").is_symlink()
    assert modelarts.copy_out(tmp_path / "none", str(out)) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--run_modelarts", "True", "--data_url", "obs://bucket/x"],
            "obs addresses can't be read",
        ),
        (["--run_modelarts", "True", "--data_url", "/nowhere/at/all"], "no such folder"),
        (["--run_modelarts", "True"], "needs --data_url"),
        (["--data_url", "/tmp"], "--data_url is for --run_modelarts True"),
        (["--train_url", "/tmp"], "--train_url is for --run_modelarts True"),
    ],
)
def test_refusals_name_the_alternative(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        modelarts.local_data(parsed(*words))
    assert modelarts.local_data(parsed()) is None


def test_both_commands_have_the_flags(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "--dataset_path", "x"], ["eval", "0", "a.ckpt", "data"]):
        assert main([*words, "--run_modelarts=True", "--data_url=s3://b/x"]) == 2
        assert "s3 addresses can't be read here" in capfd.readouterr().err


def test_evaluation_accepts_the_references_arguments(
    fails: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "b2.ckpt").write_text("no checkpoint")
    for words in (("0", "b2.ckpt", "data", "CPU"), ("0", "data", "b2.ckpt")):
        code, printed = fails("eval", *words)
        assert code == 5
        assert "b2.ckpt" in printed
    code, printed = fails("eval", "0", "b2.ckpt")
    assert code == 2
    assert "expected DEVICE_ID PATH_CHECKPOINT DATA_DIR" in printed
    code, printed = fails("eval", "--dataset_path", "data")
    assert (code, "--checkpoint_path" in printed) == (2, True)
    code, printed = fails("eval", "x", "b2.ckpt", "data")
    assert (code, "DEVICE_ID is 'x'" in printed) == (2, True)
