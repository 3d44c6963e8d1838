"""`export --precision`: smaller files, and what they cost, on the digits that B0 knows."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import onnx
import pytest

from effnet.contract import progress

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]


def words(taught, name, precision):
    return (
        *("export", "--checkpoint_path", taught, "--file_name", name),
        *("--file_format", "ONNX", "--precision", precision),
    )


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_smaller_file_says_what_it_costs_and_infers(
    precision, taught, digits, tmp_path, answer, monkeypatch
):
    name = tmp_path / "small"
    said = []
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "progress_line", lambda *given: said.append(given) or "")
    with monkeypatch.context() as job:
        job.setenv("EFFNET_HEARTBEAT", str(tmp_path / "heartbeat"))
        found = answer(*words(taught, name, precision), "--dataset_path", digits)
    assert ("accuracy", 360, 360) in said
    assert (("ranges", 1024, 1024) in said) == (precision == "int8")
    assert found["precision"] == precision
    assert found["accuracy_images"] == 360
    assert found["top_1_acc_fp32"] > 0.8
    assert found["top_1_acc_fp32"] - found["top_1_acc"] < 0.05
    # As measured by the command that uses the file, which reads its metadata too.
    inferred = answer("infer", "--onnx_path", f"{name}.onnx", "--dataset_path", digits)
    assert inferred["top_1_acc"] == pytest.approx(found["top_1_acc"], abs=1e-9)
    model = onnx.load(f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props}["precision"] == precision
    assert next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) >= 17
    # A file of this size is mostly names: the weights are what becomes smaller.
    largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    wanted = {"int8": onnx.TensorProto.INT8, "fp16": onnx.TensorProto.FLOAT16}
    assert largest.data_type == wanted[precision]
    kinds = {node.op_type for node in model.graph.node}
    assert ("QuantizeLinear" in kinds) == (precision == "int8")
    if precision == "int8":
        (last,) = [n for n in model.graph.node if model.graph.output[0].name in n.output]
        assert last.op_type == "Gemm"


def test_what_is_missing_is_named_before_anything_is_written(
    taught, digits, tmp_path, fails, monkeypatch
):
    name = tmp_path / "small"
    _, said = fails(*words(taught, name, "int8"))
    assert "--dataset_path DIR" in said
    _, said = fails(*words(taught, name, "int8"), "--dataset_path", digits / "train")
    assert "no validation images" in said
    full = words(taught, name, "fp32")
    for option in ("--dataset_path", "--eval_dataset_path"):
        _, said = fails(*full, option, digits)
        assert f"{option} is only for --precision" in said
        assert f"or leave out {option}" in said
    _, said = fails(*words(taught, name, "int8"), "--dataset_path", digits, "--width", 64)
    assert "square" in said
    absent = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else absent(name)
    )
    _, said = fails(*words(taught, name, "int8"), "--dataset_path", digits)
    assert "needs the package onnx" in said
    assert 'pip install onnx "ml-dtypes<0.6"' in said
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_batch_that_does_not_divide_the_images(taught, digits, tmp_path, answer):
    name = tmp_path / "small"
    found = answer(*words(taught, name, "int8"), "--dataset_path", digits, "--batch_size", 7)
    assert found["input"]["shape"][0] == 7
    assert found["accuracy_images"] == 360
    inferred = answer("infer", "--onnx_path", f"{name}.onnx", "--dataset_path", digits)
    assert inferred["top_1_acc"] == pytest.approx(found["top_1_acc"], abs=1e-9)


@pytest.mark.parametrize("text", ["raise ImportError('ml_dtypes is too new')", "1 / 0"])
def test_a_package_that_cannot_be_imported_is_named_first(
    text, taught, digits, tmp_path, fails, monkeypatch
):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "__init__.py").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    _, said = fails(*words(taught, tmp_path / "small", "int8"), "--dataset_path", digits)
    assert "needs the package onnx, which cannot be imported: " in said
    assert 'pip install onnx "ml-dtypes<0.6"' in said
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
