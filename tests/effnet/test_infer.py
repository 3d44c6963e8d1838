"""`python -m effnet infer`: the same accuracy as `eval`, and no device but the one asked for."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict

import numpy as np
import onnx
import pytest

from effnet import onnx_runtime
from effnet.__main__ import main
from effnet.data import BadImages
from effnet.data.pixels import compiled
from effnet.data.source import EvalSource
from effnet.infer import facts, session
from effnet.infer.images import find_images
from effnet.infer.predict import predict
from effnet.infer.workers import Plan

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]

onnxruntime = onnx_runtime.load()

PROGRAM = """\
import sys
from effnet.__main__ import main
code = main(sys.argv[1:])
loaded = [name for name in ("mindspore", "sklearn", "launcher") if name in sys.modules]
sys.exit(code or (99 if loaded else 0))
"""


@pytest.fixture(scope="module")
def foreign(taught_onnx, tmp_path_factory):
    """The same network in a file that says nothing, with the reference's fixed batch."""
    model = onnx.load(taught_onnx)
    del model.metadata_props[:]
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    path = tmp_path_factory.mktemp("foreign") / "inputs.onnx"
    onnx.save(model, path)
    return path


def test_the_accuracy_is_evals_on_the_same_images(taught, taught_onnx, digits_359, answer):
    evaluated = answer("eval", "--dataset_path", digits_359, "--checkpoint_path", taught)
    found = answer("infer", "--onnx_path", taught_onnx, "--dataset_path", digits_359)
    assert found.keys() == {
        *("top_1_acc", "top_5_acc", "images", "unreadable", "images_per_s", "onnx", "provider")
    }
    assert found["images"] == evaluated["images"] == 359
    assert found["top_1_acc"] == evaluated["top_1_acc"] > 0.85
    assert found["top_5_acc"] == evaluated["top_5_acc"]
    assert found["provider"] == "CPUExecutionProvider"
    other = answer(
        *("infer", "--onnx_path", taught_onnx, "--dataset_path", digits_359),
        *("--batch_size", 7, "--num_workers", 1),
    )
    assert other["top_1_acc"] == found["top_1_acc"]


def test_it_starts_without_mindspore_and_prints_the_references_lines(taught_onnx, digits):
    folder = ("--dataset-path", digits)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "infer", "--onnx_path", taught_onnx, *folder],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert re.fullmatch(r"top-1 accuracy: 0\.[89]\d{4}", first)
    assert re.fullmatch(r"top-5 accuracy: [01]\.\d{5}", second)
    assert re.fullmatch(r"images: 360, images/s: \d+\.\d, CPUExecutionProvider", third)


def test_without_a_compiler_it_says_once_what_would_be_faster(
    taught_onnx, digits, capfd, one_process, monkeypatch
):
    monkeypatch.setattr(compiled, "reason", lambda: "g++ is not here")
    args = ("infer", "--onnx_path", str(taught_onnx), "--dataset_path", str(digits / "val/3"))
    assert main(list(args)) == 0
    lines = capfd.readouterr().out.splitlines()
    said = [line for line in lines if "g++" in line]
    assert said == ["note: compiled code would prepare images faster, but g++ is not here"]


def test_unreadable_images_are_counted_and_the_table_has_a_row_for_each(
    taught_onnx, digits, tmp_path, answer
):
    folder = tmp_path / "val"
    shutil.copytree(digits / "val", folder)
    broken = min((folder / "0").iterdir())
    broken.write_bytes(b"no image")
    table = tmp_path / "a table.csv"
    found = answer(
        *("infer", "--onnx_path", taught_onnx, "--dataset_path", folder, "--predictions", table)
    )
    assert (found["images"], found["unreadable"]) == (359, 1)
    assert found["predictions"] == str(table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 360
    right = [row for row in rows if row["label"] == row["predicted"]]
    assert len(right) / 359 == found["top_1_acc"]
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows[1:])
    assert rows[0] == {
        "image": f"0/{broken.name}",
        "label": "0",
        "predicted": "",
        "probability": "",
        "unreadable": "not an image that can be read",
    }


def test_images_of_no_known_class_are_predicted(taught_onnx, digits, capfd, one_process):
    from effnet.__main__ import main

    assert (
        main(["infer", "--onnx_path", str(taught_onnx), "--dataset_path", f"{digits}/val/4"]) == 0
    )
    *predictions, last = capfd.readouterr().out.splitlines()
    assert len(predictions) == len(list((digits / "val" / "4").iterdir()))
    fours = [line for line in predictions if re.fullmatch(r"\d{4}\.png: 4 \(0\.\d{6}\)", line)]
    assert len(fours) > len(predictions) / 2
    assert last.startswith(f"images: {len(predictions)}, ")


def test_a_foreign_file_gets_notes_about_missing_metadata(foreign, taught_onnx, digits_359, answer):
    own = answer("infer", "--onnx_path", taught_onnx, "--dataset_path", digits_359)
    found = answer(
        *("infer", "--onnx_path", foreign, "--dataset_path", digits_359),
        *("--resize", 32, "--normalization", "half"),
    )
    assert found["top_1_acc"] == own["top_1_acc"]
    assert found["images"] == 359


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("--width", "64"), 2, "width 64 does not fit"),
        (("--batch_size", "4"), 2, "its batch is fixed at 1"),
        (("--resize", "16"), 2, "nothing to crop"),
        (("--num_workers", "-1"), 2, "must be at least 0"),
    ],
)
def test_flags_that_do_not_fit_the_file(foreign, digits, fails, args, code, text):
    found, err = fails("infer", "--onnx_path", foreign, "--dataset_path", digits, *args)
    assert (found, text in err) == (code, True), err


def test_other_classes_and_mixed_folders_are_named(taught_onnx, digits, tmp_path, fails):
    folder = tmp_path / "val"
    shutil.copytree(digits / "val", folder)
    shutil.rmtree(folder / "9")
    code, err = fails("infer", "--onnx_path", taught_onnx, "--dataset_path", folder)
    assert code == 3
    assert f"only in {taught_onnx}: 9\n" in err
    shutil.copy(min((folder / "8").iterdir()), folder)
    code, err = fails("infer", "--onnx_path", taught_onnx, "--dataset_path", folder)
    assert (code, "both class folders and images beside them" in err) == (3, True)
    (tmp_path / "none").mkdir()
    code, err = fails("infer", "--onnx_path", taught_onnx, "--dataset_path", tmp_path / "none")
    assert (code, "has no images" in err) == (3, True)


def test_files_that_are_not_models(digits, tmp_path, fails):
    code, err = fails("infer", "--onnx_path", tmp_path / "a.onnx", "--dataset_path", digits)
    assert (code, "no such file" in err) == (1, True)
    (tmp_path / "a.onnx").write_bytes(b"no model")
    code, err = fails("infer", "--onnx_path", tmp_path / "a.onnx", "--dataset_path", digits)
    assert (code, "cannot be loaded" in err) == (1, True)


# -- GPU ------------------------------------------------------------------------------------------


def test_on_a_gpu_every_batch_has_one_shape_and_the_answers_are_the_same(
    taught_onnx, digits, tmp_path
):
    """CUDA spends seconds on each new shape: a broken image or the last batch must not make one."""
    folder = tmp_path / "val"
    shutil.copytree(digits / "val" / "4", folder)
    sorted(folder.iterdir())[5].write_bytes(b"no image")
    images, _ = find_images(str(folder))
    on_cpu = session.open_model(taught_onnx, "CPU")
    shapes = []

    class Recorded:
        def run(self, outputs, inputs):
            shapes.append(inputs[on_cpu.input].shape)
            return on_cpu.session.run(outputs, inputs)

    def found(model):
        preprocessing = facts.preprocessing(model, defaultdict(lambda: None))
        source = EvalSource(images, preprocessing, BadImages())
        return predict(model, source, Plan(1, 8, 1), lambda done: None)

    as_gpu = dataclasses.replace(on_cpu, session=Recorded(), provider=session.PROVIDERS["GPU"])
    padded, plain = found(as_gpu), found(on_cpu)
    assert len(images) % 8
    assert set(shapes) == {(8, 3, 32, 32)}
    assert padded.unreadable == plain.unreadable == 1
    assert list(padded.predicted) == list(plain.predicted)
    assert np.allclose(padded.probability, plain.probability, atol=1e-6)


def cuda_works(path) -> bool:
    try:
        session.open_model(path, "GPU")
    except session.ProviderMissing:
        return False
    return True


def test_gpu_works_or_is_refused_with_the_library_that_does_not_load(
    taught_onnx, digits, capfd, one_process
):
    from effnet.__main__ import main

    works = cuda_works(taught_onnx)
    capfd.readouterr()
    args = ["infer", "--onnx_path", taught_onnx, "--dataset_path", digits, "--json"]
    code = main([*map(str, args), "--device_target", "GPU"])
    out, err = capfd.readouterr()
    if works:
        assert json.loads(out)["provider"] == "CUDAExecutionProvider"
        return
    assert (code, out) == (6, "")
    assert "error: --device_target GPU: " in err
    assert re.search(r"lib\w+\.so|built without CUDAExecutionProvider", err)


def test_a_build_without_cuda_is_named(taught_onnx, digits, fails, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    code, err = fails(
        *("infer", "--onnx_path", taught_onnx, "--dataset_path", digits),
        *("--device_target", "GPU"),
    )
    assert code == 6
    assert "was built without CUDAExecutionProvider; it has CPUExecutionProvider" in err


def test_a_session_that_fell_back_is_refused(taught_onnx, monkeypatch):
    real = onnxruntime.InferenceSession

    def fallen_back(path, settings, providers):
        return real(path, settings, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fallen_back)
    monkeypatch.setattr(session, "_require_cuda", lambda runtime: None)
    monkeypatch.setattr(session, "_why_cuda_does_not_load", lambda runtime: None)
    with pytest.raises(session.ProviderMissing, match="took CPUExecutionProvider instead"):
        session.open_model(taught_onnx, "GPU")


def test_onnxruntime_writes_and_sends_nothing_about_its_user(tmp_path):
    """From 1.29 on it makes a device id at import, except where a CI is recognised."""
    program = "from effnet.onnx_runtime import load; print(load().__version__)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert list(tmp_path.rglob("*")) == []
