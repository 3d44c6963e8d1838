"""Weights from foreign files into checkpoints, out again, and into networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from effnet.model.efficientnet import BN_EPS, EfficientNet, create
from effnet.weights import convert
from effnet.weights.files import UnreadableWeights, read_tensors, write_tensors
from effnet.weights.manifest import Manifest, manifest_path, verify, write_manifest


def import_weights(
    file: Path, source: str, variant: str, padding: str, num_classes: int, out: Path
) -> Manifest:
    """A foreign file into a checkpoint with its manifest.

    Raises `UnreadableWeights`, `WeightsMismatch`, `UnknownSource`, `UnknownVariant`.
    """
    _require_suffix(out, ".ckpt")
    if padding not in BN_EPS:
        raise UnreadableWeights(f"unknown padding {padding!r}", hint=f"one of {', '.join(BN_EPS)}")
    weights = convert.to_ours(read_tensors(file), source, variant, num_classes)
    # A manifest left from an older file of this name must not vouch for the new one.
    manifest_path(out).unlink(missing_ok=True)
    write_tensors(out, weights)
    return write_manifest(
        out,
        variant=variant,
        padding=padding,
        num_classes=num_classes,
        bn_eps=BN_EPS[padding],
        source=source,
    )


def export_weights(ckpt: Path, target: str, out: Path, prefix: str = "") -> Manifest:
    """A checkpoint into a file with the names of `target`; returns the checkpoint's manifest.

    `prefix` picks weights kept under one, such as an average's. Raises `ManifestMissing`,
    `CheckpointCorrupt`, `WeightsMismatch`, `UnknownSource`.
    """
    _require_suffix(out, ".ckpt" if target == "reference" else ".safetensors")
    manifest = verify(ckpt)
    tensors = _below(prefix, read_tensors(ckpt))
    write_tensors(out, convert.from_ours(tensors, target, manifest.variant, manifest.num_classes))
    return manifest


def load_network(ckpt: Path, prefix: str = "", **settings: Any) -> tuple[EfficientNet, Manifest]:
    """The network that a checkpoint holds, built as its manifest says, in evaluation mode.

    `settings` go to `create` (dropout, drop_path, bn_momentum). Raises as `export_weights`.
    """
    manifest = verify(ckpt)
    net = create(
        manifest.variant,
        manifest.num_classes,
        manifest.padding,
        bn_eps=manifest.bn_eps,
        **settings,
    )
    load_into(net, _below(prefix, read_tensors(ckpt)))
    net.set_train(False)
    return net, manifest


def load_into(net: nn.Cell, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Set every parameter of `net` by name; raises `WeightsMismatch` before any is changed.

    Tensors that are none of the network's are left alone.
    """
    parameters = {p.name: p for p in net.get_parameters()}
    present = {name: tensor for name, tensor in tensors.items() if name in parameters}
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    convert.check(present, shapes, "the weights do not fit the network")
    for name, parameter in parameters.items():
        # Not set_data: a graph compiled before would go on computing with the old values.
        ms.ops.assign(parameter, ms.Tensor(np.asarray(present[name], np.float32)))


def _below(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    start = len(prefix)
    return {name[start:]: value for name, value in tensors.items() if name.startswith(prefix)}


def _require_suffix(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise UnreadableWeights(f"{path}: the file written must end in {suffix}")
