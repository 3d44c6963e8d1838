"""Changes to a serialised ONNX model, read back by the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from effnet.export import wire


def model() -> bytes:
    def tensor(name, *shape):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    weight = onnx.numpy_helper.from_array(np.full((3, 200), 0.5, np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["image", "w"], ["logits"])
    graph = onnx.helper.make_graph(
        [node], "graph", [tensor("image", "batch", 3)], [tensor("logits", 2, 200)], [weight]
    )
    return onnx.helper.make_model(graph).SerializeToString()


def test_only_the_batch_of_the_output_becomes_free():
    before, after = (onnx.load_from_string(m) for m in (model(), wire.with_free_batch(model())))
    dims = after.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 200]
    before.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert after == before


def test_metadata_of_any_language_is_added():
    values = {"class_names": '["茶", "café"]', "long": "x" * 1000}
    found = onnx.load_from_string(wire.with_metadata(model(), values))
    assert {entry.key: entry.value for entry in found.metadata_props} == values
    del found.metadata_props[:]
    assert found == onnx.load_from_string(model())


@pytest.mark.parametrize("cut", [1, 30, 1000])
def test_a_cut_model_is_refused(cut):
    with pytest.raises((ValueError, IndexError)):
        wire.with_free_batch(model()[:-cut])
