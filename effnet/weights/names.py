"""Names and shapes of every tensor of a network, here and in other projects. Pure.

Sources: timm/models/efficientnet.py and _efficientnet_blocks.py (huggingface/
pytorch-image-models); torchvision/models/efficientnet.py; and, for `reference`, src/models/
effnet.py and layers.py of official/cv/Efficientnet/efficientnet-b2 (mindspore-ai/models).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from effnet.errors import EffnetError
from effnet.model import scaling
from effnet.model.scaling import BlockSpec

SOURCES = ("timm", "torchvision", "reference")

Shape = tuple[int, ...]


class UnknownSource(EffnetError):
    """The name is not one of `SOURCES`."""


@dataclass(frozen=True)
class TensorName:
    """One tensor: its name and shape in our networks, and in a foreign file."""

    ours: str
    shape: Shape
    theirs: str
    their_shape: Shape


@dataclass(frozen=True)
class _Layer:
    """Names of one layer: ours, timm's, torchvision's, the reference's."""

    ours: str
    timm: str
    torchvision: str
    reference: str

    def of(self, source: str) -> str:
        return str(getattr(self, source))


_NORM_SHARED = ("gamma", "beta", "moving_mean", "moving_variance")
_NORM_TORCH = ("weight", "bias", "running_mean", "running_var")


def tensor_names(source: str, variant: str, num_classes: int) -> list[TensorName]:
    """Every tensor of a variant; raises `UnknownSource`, `UnknownVariant`."""
    if source not in SOURCES:
        raise UnknownSource(f"unknown source {source!r}", hint=f"one of {', '.join(SOURCES)}")
    return list(_tensors(source, variant, num_classes))


def unused_shapes(source: str, variant: str) -> dict[str, Shape]:
    """Their name -> shape of tensors that the foreign network holds but never computes with.

    Only the reference has such: a bias beside each convolution that batch norm follows, and
    whole expanding convolutions in stage 1, which does not expand.
    """
    if source != "reference":
        return {}
    unused: dict[str, Shape] = {"stem.0.bias": (1, scaling.stem_channels(variant), 1, 1)}
    for spec in scaling.blocks(variant):
        name = f"blocks.{spec.stage}.layers.{spec.position}"
        channels = spec.expanded_channels
        unused[f"{name}.expand_conv.0.bias"] = (1, channels, 1, 1)
        if spec.expand_ratio == 1:
            unused[f"{name}.expand_conv.0.conv.weight"] = (channels, channels, 1, 1)
            for suffix in _NORM_SHARED:
                unused[f"{name}.expand_conv.1.{suffix}"] = (channels,)
        unused[f"{name}.depth_wise_conv.0.bias"] = (1, channels, 1, 1)
    unused["head.0.bias"] = (1, scaling.feature_channels(variant), 1, 1)
    return unused


def is_bookkeeping(source: str, name: str) -> bool:
    """Whether a tensor of a foreign file is known to say nothing about the network.

    PyTorch's counters of batch norm; MindSpore's optimizer state and step numbers.
    """
    if source == "reference":
        return name in _REFERENCE_BOOKKEEPING or name.startswith(_REFERENCE_OPTIMIZER)
    return name.endswith(".num_batches_tracked")


_REFERENCE_BOOKKEEPING = frozenset(
    {"global_step", "learning_rate", "epoch_num", "step_num", "scale_sense", "momentum"}
)
_REFERENCE_OPTIMIZER = ("mean_square.", "mean_grad.", "moment.", "moments.")


def _tensors(source: str, variant: str, num_classes: int) -> Iterator[TensorName]:
    stem, features = scaling.stem_channels(variant), scaling.feature_channels(variant)
    specs = scaling.blocks(variant)
    yield _conv(_Layer("stem", "conv_stem", "features.0.0", "stem.0"), (stem, 3, 3, 3), source)
    yield from _norm(_Layer("stem_norm", "bn1", "features.0.1", "stem.1"), stem, source)
    for index, spec in enumerate(specs):
        yield from _block(f"blocks.{index}", spec, source)
    last = specs[-1].out_channels
    yield _conv(
        _Layer("head", "conv_head", "features.8.0", "head.0"), (features, last, 1, 1), source
    )
    yield from _norm(_Layer("head_norm", "bn2", "features.8.1", "head.1"), features, source)
    dense = _Layer("classifier", "classifier", "classifier.1", "head.6")
    for suffix, shape in (("weight", (num_classes, features)), ("bias", (num_classes,))):
        yield TensorName(f"{dense.ours}.{suffix}", shape, f"{dense.of(source)}.{suffix}", shape)


def _block(ours: str, spec: BlockSpec, source: str) -> Iterator[TensorName]:
    timm = f"blocks.{spec.stage}.{spec.position}"
    torchvision = f"features.{spec.stage + 1}.{spec.position}.block"
    reference = f"blocks.{spec.stage}.layers.{spec.position}"
    channels = spec.expanded_channels
    expands = spec.expand_ratio != 1
    # timm and torchvision number what is there, so all after the expansion moves by one.
    first = 1 if expands else 0

    def layer(our: str, timm_name: str, torchvision_name: str, reference_name: str) -> _Layer:
        return _Layer(
            f"{ours}.{our}",
            f"{timm}.{timm_name}",
            f"{torchvision}.{torchvision_name}",
            f"{reference}.{reference_name}",
        )

    if expands:
        shape = (channels, spec.in_channels, 1, 1)
        yield _conv(layer("expand", "conv_pw", "0.0", "expand_conv.0"), shape, source)
        yield from _norm(layer("expand_norm", "bn1", "0.1", "expand_conv.1"), channels, source)
    yield _conv(
        layer("depthwise", "conv_dw", f"{first}.0", "depth_wise_conv.0"),
        (channels, 1, spec.kernel, spec.kernel),
        source,
    )
    yield from _norm(
        layer("depthwise_norm", f"bn{first + 1}", f"{first}.1", "depth_wise_conv.1"),
        channels,
        source,
    )
    se, squeezed = f"{first + 1}", spec.se_channels
    reduce = layer("se.reduce", "se.conv_reduce", f"{se}.fc1", "se.se.1")
    expand = layer("se.expand", "se.conv_expand", f"{se}.fc2", "se.se.3")
    yield _conv(reduce, (squeezed, channels, 1, 1), source)
    yield _bias(reduce, squeezed, source)
    yield _conv(expand, (channels, squeezed, 1, 1), source)
    yield _bias(expand, channels, source)
    last, out = f"{first + 2}", spec.out_channels
    # The reference's last convolution is a bare nn.Conv2d, the others are wrapped in a cell.
    project = layer("project", "conv_pwl" if expands else "conv_pw", f"{last}.0", "project_conv.0")
    yield _conv(project, (out, channels, 1, 1), source, wrapped=False)
    yield from _norm(
        layer("project_norm", f"bn{first + 2}", f"{last}.1", "project_conv.1"), out, source
    )


def _conv(layer: _Layer, shape: Shape, source: str, wrapped: bool = True) -> TensorName:
    suffix = "conv.weight" if source == "reference" and wrapped else "weight"
    return TensorName(f"{layer.ours}.weight", shape, f"{layer.of(source)}.{suffix}", shape)


def _bias(layer: _Layer, channels: int, source: str) -> TensorName:
    shape = (1, channels, 1, 1) if source == "reference" else (channels,)
    return TensorName(f"{layer.ours}.bias", (channels,), f"{layer.of(source)}.bias", shape)


def _norm(layer: _Layer, channels: int, source: str) -> Iterator[TensorName]:
    theirs = _NORM_SHARED if source == "reference" else _NORM_TORCH
    for our_suffix, suffix in zip(_NORM_SHARED, theirs, strict=True):
        yield TensorName(
            f"{layer.ours}.{our_suffix}", (channels,), f"{layer.of(source)}.{suffix}", (channels,)
        )
