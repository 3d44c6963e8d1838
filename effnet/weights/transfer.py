"""Weights from foreign files into checkpoints, out again, and into networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from effnet.model.scaling import BN_EPS
from effnet.weights import convert
from effnet.weights.files import UnreadableWeights, read_tensors, write_tensors
from effnet.weights.manifest import Manifest, manifest_path, verify, write_manifest

AVERAGE_PREFIX = "ema."
"""What the trainer puts before the names of averaged weights and statistics."""


def import_weights(
    file: Path,
    source: str,
    variant: str,
    padding: str,
    num_classes: int,
    out: Path,
    *,
    strip_prefix: str | None = None,
    ema: bool = False,
) -> Manifest:
    """A foreign file into a checkpoint with its manifest.

    `strip_prefix` and `ema` choose between copies of the weights (`convert.to_ours`).

    Raises `UnreadableWeights`, `WeightsMismatch`, `UnknownVariant`.
    """
    _require_suffix(out, ".ckpt")
    weights = convert.to_ours(
        read_tensors(file), source, variant, num_classes, strip_prefix=strip_prefix, ema=ema
    )
    # torchvision builds its three largest with TensorFlow's epsilon, but not its padding.
    has_tf_eps = source == "torchvision" and variant in ("b5", "b6", "b7")
    # The manifest of an older file of this name is not valid for the new one.
    manifest_path(out).unlink(missing_ok=True)
    write_tensors(out, weights)
    return write_manifest(
        out,
        variant=variant,
        padding=padding,
        num_classes=num_classes,
        bn_eps=BN_EPS["same" if has_tf_eps else padding],
        source=source,
    )


def export_weights(ckpt: Path, target: str, out: Path, weights: str | None = None) -> Manifest:
    """A checkpoint into a file with the names of `target`; returns the checkpoint's manifest.

    `weights` is as for `choose`. Raises `ManifestMissing`, `ManifestInvalid`, `CheckpointCorrupt`,
    `UnreadableWeights`, `WeightsMismatch`.
    """
    _require_suffix(out, ".ckpt" if target == "reference" else ".safetensors")
    manifest = verify(ckpt)
    tensors, _ = choose(ckpt, read_tensors(ckpt), weights)
    write_tensors(out, convert.from_ours(tensors, target, manifest.variant, manifest.num_classes))
    return manifest


def choose(
    ckpt: Path, tensors: Mapping[str, NDArray[Any]], weights: str | None
) -> tuple[dict[str, NDArray[Any]], str]:
    """A checkpoint's weights (`model`) or their moving average (`ema`), and which of the two.

    None: the moving average if it is there. Raises `UnreadableWeights` for `ema` without one.
    """
    averaged = {
        name.removeprefix(AVERAGE_PREFIX): value
        for name, value in tensors.items()
        if name.startswith(AVERAGE_PREFIX)
    }
    if weights == "ema" and not averaged:
        raise UnreadableWeights(
            f"{ckpt}: has no moving average of the weights", hint="use --weights model"
        )
    if averaged and weights != "model":
        # Frozen parts have no average: they are what they were.
        return {**tensors, **averaged}, "ema"
    return dict(tensors), "model"


def load_into(net: nn.Cell, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Set every parameter of `net` by name; raises `WeightsMismatch` before any is changed.

    Other tensors are ignored.
    """
    parameters = {p.name: p for p in net.get_parameters()}
    present = {name: tensor for name, tensor in tensors.items() if name in parameters}
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    convert.check(present, shapes, "the weights do not fit the network")
    for name, parameter in parameters.items():
        # Not set_data: a graph compiled before would still compute with the old values.
        ms.ops.assign(parameter, ms.Tensor(np.asarray(present[name], np.float32)))


def _require_suffix(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise UnreadableWeights(f"{path}: the file written must end in {suffix}")
