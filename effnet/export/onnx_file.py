"""A network as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn, onnx
from numpy.typing import NDArray

from effnet import onnx_runtime
from effnet.export import wire
from effnet.export.compare import Compute
from effnet.export.record import INPUT, OUTPUT, metadata_of

OPSET = 17
"""MindSpore writes 11. What it writes of these networks (Conv, BatchNormalization, Sigmoid, Mul,
Add, ReduceMean, Gemm, with one output each and attributes) means the same up to 17."""


def write(
    net: nn.Cell,
    path: Path,
    size_px: tuple[int, int],
    batch_size: int | None,
    record: Mapping[str, Any],
) -> None:
    """Write `net` for (`batch_size` or any, 3, height, width), with `record` as metadata.

    `net` is a fresh one: MindSpore exports none twice. `size_px` is (height, width). `path` has
    only characters that MindSpore takes.
    """
    image = Tensor(np.zeros((batch_size or 1, 3, *size_px), np.float32))
    axes = {} if batch_size else {INPUT: {0: "batch"}}
    onnx.export(
        net,
        image,
        file_name=str(path),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes=axes,
    )
    model = wire.with_opset(path.read_bytes(), OPSET)
    if batch_size is None:
        model = wire.with_free_batch(model)
    path.write_bytes(wire.with_metadata(model, metadata_of(record)))


def load(path: Path) -> Compute:
    """The file in onnxruntime, on the CPU; raises what that raises."""
    session: Any = onnx_runtime.load().InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    found = [(item.name for item in side) for side in (session.get_inputs(), session.get_outputs())]
    if [list(names) for names in found] != [[INPUT], [OUTPUT]]:
        raise ValueError(f"inputs or outputs are not {INPUT} and {OUTPUT}")

    def compute(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([OUTPUT], {INPUT: images})[0]
        return logits

    return compute
