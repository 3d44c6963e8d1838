"""`python -m effnet export`: what is written computes what the network does, or is not there."""

from __future__ import annotations

import json
import stat

import checkpoints
import mindspore as ms
import numpy as np
import onnx
import pytest

from effnet import onnx_runtime
from effnet.export import job, mindir, mindir_v1, onnx_file
from effnet.weights.manifest import sha256_of

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]

onnxruntime = onnx_runtime.load()

# Not square, so that no side can be taken for the other.
WIDTH_PX, HEIGHT_PX = 40, 32
SIZE = ("--width", WIDTH_PX, "--height", HEIGHT_PX)


def images(batch: int) -> np.ndarray:
    draw = np.random.RandomState(7)
    return draw.normal(size=(batch, 3, HEIGHT_PX, WIDTH_PX)).astype(np.float32)


def largest_difference(path, network) -> float:
    """Relative to the largest logit, at batch 1 and 7."""
    found = []
    load = onnx_file.load if path.suffix == ".onnx" else mindir.load
    compute = load(path)
    for batch in (1, 7):
        expected = network(ms.Tensor(images(batch))).asnumpy()
        assert expected.std() >= 0.1
        found.append(np.abs(compute(images(batch)) - expected).max() / np.abs(expected).max())
    return float(max(found))


@pytest.mark.parametrize("file_format", ["ONNX", "MINDIR"])
def test_the_file_computes_what_the_network_does(drawn_b0, tmp_path, answer, file_format):
    name = tmp_path / "with space" / "net"
    found = answer(
        *("export", "--checkpoint_path", drawn_b0, "--file_name", name),
        *("--file_format", file_format, *SIZE),
    )
    path = name.with_suffix(f".{file_format.lower()}")
    assert found["file"] == str(path)
    assert found["format"] == file_format
    assert found["bytes"] == path.stat().st_size
    assert found["sha256"] == sha256_of(path)
    assert found["checkpoint"] == str(drawn_b0)
    assert found["input"]["shape"] == [None, 3, HEIGHT_PX, WIDTH_PX]
    assert found["output"]["shape"] == [None, 10]
    assert 0 <= found["max_abs_difference"] < 1e-3
    assert found["relative_difference"] <= found["relative_difference_limit"] <= 0.05
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".")]
    network = checkpoints.network(drawn_b0)
    assert largest_difference(path, network) <= 1e-4
    if file_format == "MINDIR":
        check_mindir(path, drawn_b0)


def test_tensorflows_padding(tmp_path, answer):
    checkpoint = checkpoints.imported(tmp_path, "b0", "same")
    answer(
        *("export", "--checkpoint_path", checkpoint, "--file_name", tmp_path / "net"),
        *("--file_format", "ONNX", *SIZE),
    )
    network = checkpoints.network(checkpoint)
    assert largest_difference(tmp_path / "net.onnx", network) <= 1e-4


def test_an_onnx_file_says_what_it_is(taught, taught_onnx):
    model = onnx.load(taught_onnx)
    onnx.checker.check_model(model, full_check=True)
    sides = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    assert sides == [["batch", 3, 32, 32], ["batch", 10]]
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(said["preprocessing"]) == {
        "resize_px": 32,
        "width_px": 32,
        "height_px": 32,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    assert (said["variant"], said["weights"], said["step"]) == ("b0", "ema", "45")
    assert said["checkpoint_sha256"] == sha256_of(taught.resolve())


def check_mindir(path, checkpoint):
    """Of version 1, with its record beside it, and no operator that is not known."""
    record = json.loads(path.with_name(path.name + ".json").read_text())
    assert (record["sha256"], record["bytes"]) == (sha256_of(path), path.stat().st_size)
    assert (record["variant"], record["weights"]) == ("b0", "model")
    assert record["checkpoint_sha256"] == sha256_of(checkpoint)
    # 224 px of 256 in the checkpoint's own preprocessing, timm's.
    expected = (WIDTH_PX, HEIGHT_PX, round(WIDTH_PX / 0.875))
    assert expected == tuple(
        record["preprocessing"][key] for key in ("width_px", "height_px", "resize_px")
    )

    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    assert model.mind_ir_version == 1
    assert {primitive.op_type for primitive in model.primitives} == {
        *("Add", "BatchNorm", "BiasAdd", "Conv2D", "MatMul", "Mul", "ReduceMean", "Sigmoid"),
        "TupleGetItem",
    }
    ends = (*model.graph.input, *model.graph.output)
    assert [value.name for value in ends] == ["image", "logits"]
    softplus = model.primitives.add()
    softplus.name, softplus.op_type = "Softplus:99", "Softplus"
    first = next(node for node in model.graph.node if node.op_type != "Constant")
    first.op_type = "REF::Softplus:99"
    with pytest.raises(mindir_v1.UnknownOperator, match="operator Softplus"):
        mindir_v1.rewrite(model)


def test_a_fixed_batch(taught, tmp_path, answer):
    found = answer(
        *("export", "--checkpoint_path", taught, "--file_name", tmp_path / "net"),
        *("--file_format", "onnx", "--batch_size", 2),
    )
    assert found["input"]["shape"] == [2, 3, 32, 32]
    session = onnxruntime.InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    assert session.get_inputs()[0].shape == [2, 3, 32, 32]
    assert session.get_outputs()[0].shape == [2, 10]


@pytest.mark.parametrize("damage", ["weights", "bytes", "names"])
def test_a_corrupted_export_is_refused_and_gets_no_name(
    taught, tmp_path, monkeypatch, fails, damage
):
    write = onnx_file.write

    def damaged(net, path, *args):
        if damage == "weights":
            bias = net.blocks[3].project_norm.beta
            ms.ops.assign(bias, bias + 1e-2)
        write(net, path, *args)
        content = path.read_bytes()
        if damage == "bytes":
            path.write_bytes(content[: len(content) // 2])
        if damage == "names":
            path.write_bytes(content.replace(b"logits", b"logitz"))

    monkeypatch.setattr(job.onnx_file, "write", damaged)
    code, err = fails(
        *("export", "--checkpoint_path", taught, "--file_name", tmp_path / "net"),
        *("--file_format", "ONNX"),
    )
    assert code == 1
    expected = {"weights": "largest difference", "bytes": "cannot be loaded", "names": "logits"}
    assert expected[damage] in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["CPU", None])
def test_air_off_ascend_is_an_error(taught, tmp_path, fails, target):
    given = ("--device_target", target) if target else ()
    code, err = fails(
        *("export", "--checkpoint_path", taught, "--file_name", tmp_path / "net"),
        *("--file_format", "AIR", *given),
    )
    assert code == 6
    assert "only MindSpore on Ascend can write AIR" in err
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_is_none(taught, fails):
    code, err = fails("export", "--checkpoint_path", taught, "--width", 0)
    assert (code, "--width is 0" in err) == (2, True)
