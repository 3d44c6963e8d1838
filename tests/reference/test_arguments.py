"""The scripts' arguments: count, order, and the errors about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.core.profile.model import DeviceTarget
from launcher.errors import UsageError
from launcher.reference.arguments import SCRIPTS, Arguments, parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "b2.ckpt").write_bytes(b"x")
    return tmp_path


def arguments(script: str, *words: str, **environment: str) -> Arguments:
    return parse(SCRIPTS[script], words, environment)


def refused(script: str, *words: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        arguments(script, *words, **environment)
    assert f"usage: bash scripts/{script}.sh" in caught.value.hint
    assert "example: bash" in caught.value.hint
    return caught.value.message


def test_every_script_exists_and_prints_its_usage() -> None:
    for script in SCRIPTS.values():
        text = (ROOT / "scripts" / f"{script.name}.sh").read_text()
        assert f"# {script.usage}\n" in text
        assert f' {script.name} "$@"\n' in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrong_number_of_arguments(name: str) -> None:
    most = len(SCRIPTS[name].parameters)
    assert refused(name) == refused(name).split(", not")[0] + ", not 0"
    assert f"not {most + 1}" in refused(name, *["0"] * (most + 1))


def test_evaluation_accepts_the_orders_of_the_readme_and_the_script(place: Path) -> None:
    readme = arguments("run_eval", "3", "data", "b2.ckpt")
    script = arguments("run_eval", "3", "b2.ckpt", "data")
    for found in (readme, script):
        assert found.data_path == str(place / "data")
        assert (found.path, found.path_as_given) == (str(place / "b2.ckpt"), "b2.ckpt")
        assert found.devices == (3,)
        assert found.target is DeviceTarget.ASCEND
    assert readme.note == ""
    assert script.note == (
        "read as DEVICE_ID PATH_CHECKPOINT DATA_DIR, because b2.ckpt is a file and data a folder"
    )


def test_evaluation_on_a_gpu_takes_three_arguments_or_four(place: Path) -> None:
    assert arguments("run_eval_gpu", "0", "b2.ckpt", "data").target is DeviceTarget.GPU
    assert arguments("run_eval_gpu", "0", "b2.ckpt", "data", "CPU").target is DeviceTarget.CPU
    turned = arguments("run_eval_gpu", "0", "data", "b2.ckpt", "gpu")
    assert turned.target is DeviceTarget.GPU
    assert turned.path == str(place / "b2.ckpt")


def test_the_device_is_the_argument_then_the_variable_then_the_script() -> None:
    assert arguments("run_standalone_train", "1", "data").target is DeviceTarget.ASCEND
    assert (
        arguments("run_standalone_train", "1", "data", DEVICE_TARGET="CPU").target
        is DeviceTarget.CPU
    )
    words = ("2", "0,1", "data", "b2.ckpt", "Ascend")
    assert (
        arguments("run_distribute_resume", *words, DEVICE_TARGET="CPU").target
        is DeviceTarget.ASCEND
    )


def test_devices() -> None:
    assert arguments("run_train_gpu", "2", "4,6", "data").devices == (4, 6)
    assert "DEVICE_NUM is 8, and DEVICE_ID names 2" in refused("run_train_gpu", "8", "0,1", "data")
    assert "names a device twice" in refused("run_train_gpu", "2", "1,1", "data")
    assert "with commas between" in refused("run_train_gpu", "2", "0-1", "data")
    assert "expected a number" in refused("run_train_gpu", "two", "0,1", "data")


def test_errors_of_paths() -> None:
    assert refused("run_standalone_train", "0", "dat") == (
        "DATA_DIR: no folder dat; did you mean 'data'?"
    )
    assert refused("run_standalone_train", "0", "b2.ckpt") == (
        "DATA_DIR: b2.ckpt is a file, expected a folder"
    )
    assert "PATH_CHECKPOINT: no file b3.ckpt; did you mean 'b2.ckpt'?" in refused(
        "run_eval", "0", "data", "b3.ckpt"
    )
    assert "did you mean 'Ascend'?" in refused("run_infer_onnx", "b2.ckpt", "data", "Asend")
