"""scripts/run_infer_cpp.sh: what C++ and MindSpore Lite say of images is what MindSpore says."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import checkpoints
import cpp
import numpy as np
import pytest

ms = pytest.importorskip("mindspore")

from effnet.__main__ import main  # noqa: E402
from effnet.data import Preprocessing  # noqa: E402
from effnet.data.decode import decode  # noqa: E402
from effnet.weights import trained  # noqa: E402

pytestmark = [pytest.mark.mindspore, pytest.mark.slow, pytest.mark.usefixtures("small_b0")]

SCRIPT = cpp.PROJECT / "scripts" / "run_infer_cpp.sh"


def run(folder: Path, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script, called in `folder`."""
    cpp.build("effnet-infer")
    return subprocess.run(
        ["bash", SCRIPT, *map(str, args)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def export(checkpoint: Path, name: Path, *args: object) -> Path:
    given = ("--checkpoint_path", checkpoint, "--file_name", name, "--file_format", "MINDIR")
    assert main(list(map(str, ("export", *given, *args)))) == 0
    return name.with_name(name.name + ".mindir")


@pytest.fixture(scope="module")
def mindir(taught, small_b0, one_process, tmp_path_factory) -> Path:
    """`taught` with a free batch, below a path with a space."""
    return export(taught, tmp_path_factory.mktemp("a model") / "b0")


@pytest.fixture(scope="module")
def evaluated(taught_onnx, digits_359, one_process, tmp_path_factory) -> list[dict[str, str]]:
    """`effnet infer`'s table for the same images."""
    table = tmp_path_factory.mktemp("table") / "predictions.csv"
    given = ("--onnx_path", taught_onnx, "--dataset_path", digits_359, "--predictions", table)
    assert main(list(map(str, ("infer", *given)))) == 0
    return rows(table)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_accuracy_and_predictions_are_effnets(
    mindir, evaluated, taught, digits_359, tmp_path, answer, batch_size
):
    folder = tmp_path / "called here"
    folder.mkdir()
    args = ("--batch-size", batch_size, "--json")
    done = run(folder, mindir, digits_359, "CPU", 0, *args)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = answer("eval", "--dataset_path", digits_359, "--checkpoint_path", taught)
    for key in ("top_1_acc", "top_5_acc", "images"):
        assert found[key] == expected[key], key
    assert found["top_1_acc"] > 0.85
    assert (found["unreadable"], found["device"], found["mindir"]) == (0, "CPU", str(mindir))
    assert 0 < found["ms_per_image"] < 1e4

    results = folder / "result_Files"
    for own, other in zip(rows(results / "predictions.csv"), evaluated, strict=True):
        probability, wanted = (float(row.pop("probability")) for row in (own, other.copy()))
        assert probability == pytest.approx(wanted, abs=1e-4)
        assert own == {key: value for key, value in other.items() if key != "probability"}
    assert (folder / "acc.log").read_text() == (
        f"Total data: 359, top1 accuracy: {expected['top_1_acc']},"
        f" top5 accuracy: {expected['top_5_acc']}.\n"
    )
    timing = (folder / "time_Result" / "test_perform_static.txt").read_text()
    assert re.fullmatch(r"NN inference cost average time: \d+\.\d+ ms of infer_count 359\n", timing)
    check_logits(results, digits_359, taught, Preprocessing(32, 32, 32))


def check_logits(results: Path, images: Path, checkpoint: Path, preprocessing: Preprocessing):
    """Every fifth image's, within 1e-4 of MindSpore's."""
    network = trained.Trained.read(*trained.find(str(checkpoint)), None).network()
    paths = sorted(images.glob("*/*"))[::5]
    fed = np.stack([preprocessing.apply(decode(str(path))) for path in paths])
    expected = network(ms.Tensor(fed)).asnumpy()
    assert expected.std() > 0.1
    for path, wanted in zip(paths, expected, strict=True):
        own = np.fromfile(results / path.parent.name / f"{path.stem}_0.bin", np.float32)
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-4, err_msg=str(path))


def test_either_form_of_a_file_and_jpegs(one_process, digits, tmp_path):
    """Not square, bicubic, ImageNet's mean; with a free batch and with a fixed one."""
    checkpoint = checkpoints.imported(tmp_path, "b0", "same")
    images = tmp_path / "jpegs"
    for path in sorted((digits / "val").glob("*/*"))[::30]:
        target = images / path.parent.name / f"{path.stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        decode(str(path)).resize((50, 61)).save(target, quality=92)
    network = checkpoints.network(checkpoint)
    paths = sorted(images.glob("*/*"))
    for name, fixed in (("free", ()), ("fixed", ("--batch_size", 2))):
        made = export(checkpoint, tmp_path / name, "--width", 40, "--height", 48, *fixed)
        done = run(tmp_path, made, images, "CPU", "--output", tmp_path / f"{name} out")
        assert done.returncode == 0, done.stderr
        recorded = json.loads(made.with_name(f"{name}.mindir.json").read_text())["preprocessing"]
        assert recorded["interpolation"] == "bicubic"
        preprocessing = Preprocessing.from_dict(recorded)
        fed = np.stack([preprocessing.apply(decode(str(path))) for path in paths])
        expected = network(ms.Tensor(fed)).asnumpy()
        results = tmp_path / f"{name} out" / "result_Files"
        own = np.stack(
            [
                np.fromfile(results / path.parent.name / f"{path.stem}_0.bin", np.float32)
                for path in paths
            ]
        )
        # Drawn weights: the largest logit is what float32's rounding is measured by.
        assert np.abs(own - expected).max() <= 1e-4 * np.abs(expected).max()


def test_images_of_no_known_class_and_unreadable_ones(mindir, digits, tmp_path):
    images = tmp_path / "fours"
    shutil.copytree(digits / "val" / "4", images)
    count = len(list(images.iterdir()))
    (images / "broken.png").write_bytes(b"no image")
    done = run(tmp_path, mindir, images, "CPU")
    assert done.returncode == 0, done.stderr
    *lines, reason, last = done.stdout.splitlines()
    fours = [line for line in lines if re.fullmatch(r"\d{4}\.png: 4 \(0\.\d{6}\)", line)]
    assert len(fours) > count / 2
    assert "broken.png: not an image that can be read" in lines
    assert reason == f"  {images}/broken.png: not an image that can be read"
    assert re.fullmatch(
        rf"images: {count}, ms/image: \d+\.\d{{3}} in the network, images/s: \d+\.\d, CPU", last
    )
    assert not (tmp_path / "acc.log").exists()
    shutil.rmtree(images)
    images.mkdir()
    (images / "broken.png").write_bytes(b"no image")
    done = run(tmp_path, mindir, images, "CPU")
    assert (done.returncode, "all 1 images" in done.stderr) == (3, True), done.stderr


@pytest.mark.parametrize("device", ["GPU", "Ascend"])
def test_a_device_that_lite_lacks_is_an_error(mindir, digits, tmp_path, device):
    done = run(tmp_path, mindir, digits, device, 0)
    assert (done.returncode, done.stdout) == (6, "")
    pattern = rf"error: --device {device}: this MindSpore Lite cannot use the device: \S*\.so"
    assert re.search(pattern, done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "expected 3 or 4 arguments, got 0"),
        (("a.mindir", "data"), "expected 3 or 4 arguments, got 2"),
        (("a.mindir", "data", "TPU"), "DEVICE_TYPE is 'TPU'"),
        (("a.mindir", "data", "CPU", "first"), "DEVICE_ID is 'first'"),
        (("a.mindir", "data", "CPU", "0", "1"), "'1' is one argument too many"),
        (("a.mindir", "data", "CPU", "--batch-size", "0"), "must be at least 1"),
        (("a.mindir", "data", "CPU", "--batch-size", "x"), "is not a number"),
        (("a.mindir", "data", "CPU", "--batch"), "unknown argument --batch"),
    ],
)
def test_wrong_arguments(tmp_path, args, text):
    done = run(tmp_path, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "effnet-infer --help" in done.stderr or "example: bash run_infer_cpp.sh" in done.stderr


def test_files_and_folders_that_do_not_fit(mindir, digits, tmp_path):
    def fails(model: Path, data: Path) -> tuple[int, str]:
        done = run(tmp_path, model, data, "CPU")
        return done.returncode, done.stderr

    code, err = fails(tmp_path / "none.mindir", digits)
    assert (code, "none.mindir: no such file" in err) == (1, True), err
    code, err = fails(mindir, tmp_path / "none")
    assert (code, "does not exist" in err) == (3, True), err
    nine = tmp_path / "nine"
    shutil.copytree(digits / "val", nine)
    shutil.rmtree(nine / "9")
    code, err = fails(mindir, nine)
    assert (code, f"only in {mindir}: 9\n" in err) == (3, True), err
    shutil.copy(min((nine / "8").iterdir()), nine)
    code, err = fails(mindir, nine)
    assert (code, "both class folders and images beside them" in err) == (3, True), err

    other = tmp_path / "other.mindir"
    other.write_bytes(b"no model")
    code, err = fails(other, digits)
    assert (code, "cannot be loaded on CPU" in err) == (1, True), err
    assert "note: there is no " in err
    shutil.copy(f"{mindir}.json", f"{other}.json")
    code, err = fails(other, digits)
    assert (code, "is of another file" in err) == (1, True), err


def test_an_invalid_ms_lite_home_is_named(tmp_path):
    for home, text in (
        (tmp_path, "is not an unpacked MindSpore Lite"),
        ("none", "is not a folder"),
    ):
        done = run(tmp_path, "a.mindir", "data", "CPU", MS_LITE_HOME=str(home))
        assert (done.returncode, text in done.stderr) == (2, True), done.stderr
