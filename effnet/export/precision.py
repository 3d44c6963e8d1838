"""An ONNX file in 8-bit integers or float16, and what that costs in accuracy."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effnet import onnx_runtime
from effnet.data import Batch
from effnet.errors import INSTALL, EffnetError, first_line
from effnet.evaluate.accuracy import places
from effnet.export.compare import Compute, ExportRefused
from effnet.export.record import INPUT

FULL, HALF, INTEGERS = PRECISIONS = ("fp32", "fp16", "int8")


class PackageMissing(EffnetError):
    """A package that changes ONNX files is not here."""

    kind = "config"


@dataclass(frozen=True)
class Cost:
    """Top-1 accuracy of the float32 file and of the written one, on the same validation images."""

    precision: str
    images: int
    before: float
    after: float

    def text(self) -> str:
        lost = (self.before - self.after) * 100
        return (
            f"{self.precision}: top-1 {self.after * 100:.2f} % of {self.images} images, float32"
            f" {self.before * 100:.2f} %:"
            f" {abs(lost):.2f} points {'gained' if lost < 0 else 'lost'}"
        )


def require_packages(precision: str) -> None:
    """Raises `PackageMissing` where `change` could not work."""
    needs, hint = f"--precision {precision} needs the package", 'pip install onnx "ml-dtypes<0.6"'
    try:
        onnx_runtime.load()
    except ImportError as error:
        raise PackageMissing(f"{needs} onnxruntime: {first_line(error)}", hint=INSTALL) from error
    if importlib.util.find_spec("onnx") is None:
        raise PackageMissing(f"{needs} onnx", hint=hint)
    try:
        for name in ("onnx", "onnxruntime.quantization", "onnxruntime.transformers.float16"):
            importlib.import_module(name)
    except Exception as error:
        # onnx beside versions of other packages that do not fit raises errors of several kinds.
        text = f"{needs} onnx, which cannot be imported: {first_line(error)}"
        raise PackageMissing(text, hint=hint) from error


def change(path: Path, precision: str, images: Iterable[NDArray[np.float32]]) -> None:
    """Rewrite `path`; `images` are batches of training images, for the ranges of int8.

    Raises `ExportRefused`, and what `images` raises.
    """
    try:
        if precision == HALF:
            _to_half(path)
        else:
            _to_integers(path, iter(images))
    except (EffnetError, OSError):
        raise
    except Exception as error:
        # Most of onnxruntime's errors are exceptions of no other kind.
        text = f"onnxruntime cannot write this in {precision}: {first_line(error)}"
        raise ExportRefused(text) from error


def _to_half(path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Images and logits stay float32, so that whoever uses the file need not know.
    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    # onnxruntime reads nodes in any order, and the converter puts the images' cast last.
    ready = {"", *(known.name for known in (*model.graph.input, *model.graph.initializer))}
    waiting, ordered = list(model.graph.node), []
    while waiting:
        late = []
        for node in waiting:
            if ready.issuperset(node.input):
                ready.update(node.output)
                ordered.append(node)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise ValueError("nodes wait for each other")
        waiting = late
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    onnx.save(model, path)


def _to_integers(path: Path, images: Iterator[NDArray[np.float32]]) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            batch = next(images, None)
            return None if batch is None else {INPUT: batch}

    prepared = path.with_name("prepared.onnx")
    # Batch norm becomes part of the convolution before it.
    shape_inference.quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        path,
        Reader(),
        # SiLU and the gates stay float32: they lose most and gain least.
        op_types_to_quantize=["Conv", "Gemm"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        # Neither are the logits rounded: 256 steps make ties of the first two classes.
        extra_options={
            "CalibMovingAverage": True,
            "OpTypesToExcludeOutputQuantization": ["Gemm"],
        },
    )


def cost(
    precision: str,
    before: Compute,
    after: Compute,
    batches: Iterable[Batch],
    progress: Callable[[int], None] = lambda done: None,
) -> Cost:
    """Both on every valid image; `progress` gets how many images are done.

    Raises `ExportRefused` for a file that cannot compute them, or logits that are not finite.
    """
    counts, images, done = [0, 0], 0, 0
    for batch in batches:
        labels = batch.labels[batch.valid]
        images += len(labels)
        for number, (name, compute) in enumerate(((FULL, before), (precision, after))):
            try:
                logits = compute(batch.images)[batch.valid]
            except Exception as error:
                raise ExportRefused(f"the {name} file fails: {first_line(error)}") from error
            if not np.isfinite(logits).all():
                raise ExportRefused(f"logits of the {name} file are not finite")
            counts[number] += int((places(logits, labels) == 0).sum())
        done += int((batch.indices >= 0).sum())
        progress(done)
    if not images:
        raise ExportRefused("not one validation image can be read")
    return Cost(precision, images, counts[0] / images, counts[1] / images)
