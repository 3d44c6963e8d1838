"""Names and shapes of every tensor of a network, here and in other projects. Pure.

Sources: timm/models/efficientnet.py and _efficientnet_blocks.py (huggingface/
pytorch-image-models); torchvision/models/efficientnet.py; and, for `reference`, src/models/
effnet.py and layers.py of official/cv/Efficientnet/efficientnet-b2 (mindspore-ai/models).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from effnet.model import scaling
from effnet.model.scaling import BlockSpec

SOURCES = ("timm", "torchvision", "reference")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorName:
    """One tensor: its name and shape in our networks, and in a foreign file."""

    ours: str
    shape: Shape
    theirs: str
    their_shape: Shape


_NORM_SHARED = ("gamma", "beta", "moving_mean", "moving_variance")
_NORM_TORCH = ("weight", "bias", "running_mean", "running_var")


def tensor_names(source: str, variant: str, num_classes: int) -> list[TensorName]:
    """Every tensor of a variant; `source` is one of `SOURCES`. Raises `UnknownVariant`."""
    return list(_tensors(SOURCES.index(source), variant, num_classes))


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
    """Whether a tensor of a foreign file is known not to belong to the network.

    PyTorch's counters of batch norm; MindSpore's optimizer state and step numbers.
    """
    if source == "reference":
        return name in _REFERENCE_BOOKKEEPING or name.startswith(_REFERENCE_OPTIMIZER)
    return name.endswith(".num_batches_tracked")


_REFERENCE_BOOKKEEPING = frozenset(
    {"global_step", "learning_rate", "epoch_num", "step_num", "scale_sense", "momentum"}
)
_REFERENCE_OPTIMIZER = ("mean_square.", "mean_grad.", "moment.", "moments.")


Layer = tuple[str, str]
"""Our name and the foreign one of one layer."""
_REFERENCE = SOURCES.index("reference")


def _tensors(source: int, variant: str, num_classes: int) -> Iterator[TensorName]:
    def layer(ours: str, *theirs: str) -> Layer:
        """The foreign names are in the order of `SOURCES`."""
        return ours, theirs[source]

    stem, features = scaling.stem_channels(variant), scaling.feature_channels(variant)
    specs = scaling.blocks(variant)
    yield _conv(layer("stem", "conv_stem", "features.0.0", "stem.0"), (stem, 3, 3, 3), source)
    yield from _norm(layer("stem_norm", "bn1", "features.0.1", "stem.1"), stem, source)
    for index, spec in enumerate(specs):
        yield from _block(f"blocks.{index}", spec, source)
    head = layer("head", "conv_head", "features.8.0", "head.0")
    yield _conv(head, (features, specs[-1].out_channels, 1, 1), source)
    yield from _norm(layer("head_norm", "bn2", "features.8.1", "head.1"), features, source)
    ours, theirs = layer("classifier", "classifier", "classifier.1", "head.6")
    for suffix, shape in (("weight", (num_classes, features)), ("bias", (num_classes,))):
        yield TensorName(f"{ours}.{suffix}", shape, f"{theirs}.{suffix}", shape)


def _block(ours: str, spec: BlockSpec, source: int) -> Iterator[TensorName]:
    stage, position, channels = spec.stage, spec.position, spec.expanded_channels
    prefix = (
        f"blocks.{stage}.{position}",
        f"features.{stage + 1}.{position}.block",
        f"blocks.{stage}.layers.{position}",
    )[source]
    expands = spec.expand_ratio != 1
    # timm and torchvision number what is there, so all after the expansion moves by one.
    first = 1 if expands else 0

    def layer(own: str, *theirs: str) -> Layer:
        return f"{ours}.{own}", f"{prefix}.{theirs[source]}"

    if expands:
        expand = layer("expand", "conv_pw", "0.0", "expand_conv.0")
        yield _conv(expand, (channels, spec.in_channels, 1, 1), source)
        yield from _norm(layer("expand_norm", "bn1", "0.1", "expand_conv.1"), channels, source)
    depthwise = layer("depthwise", "conv_dw", f"{first}.0", "depth_wise_conv.0")
    yield _conv(depthwise, (channels, 1, spec.kernel, spec.kernel), source)
    norm = layer("depthwise_norm", f"bn{first + 1}", f"{first}.1", "depth_wise_conv.1")
    yield from _norm(norm, channels, source)
    se, squeezed = f"{first + 1}", spec.se_channels
    reduce = layer("se.reduce", "se.conv_reduce", f"{se}.fc1", "se.se.1")
    yield _conv(reduce, (squeezed, channels, 1, 1), source)
    yield _bias(reduce, squeezed, source)
    expand = layer("se.expand", "se.conv_expand", f"{se}.fc2", "se.se.3")
    yield _conv(expand, (channels, squeezed, 1, 1), source)
    yield _bias(expand, channels, source)
    last, out = f"{first + 2}", spec.out_channels
    # The reference's last convolution is a bare nn.Conv2d, the others are wrapped in a cell.
    project = layer("project", "conv_pwl" if expands else "conv_pw", f"{last}.0", "project_conv.0")
    yield _conv(project, (out, channels, 1, 1), source, wrapped=False)
    norm = layer("project_norm", f"bn{first + 2}", f"{last}.1", "project_conv.1")
    yield from _norm(norm, out, source)


def _conv(layer: Layer, shape: Shape, source: int, wrapped: bool = True) -> TensorName:
    suffix = "conv.weight" if source == _REFERENCE and wrapped else "weight"
    return TensorName(f"{layer[0]}.weight", shape, f"{layer[1]}.{suffix}", shape)


def _bias(layer: Layer, channels: int, source: int) -> TensorName:
    shape = (1, channels, 1, 1) if source == _REFERENCE else (channels,)
    return TensorName(f"{layer[0]}.bias", (channels,), f"{layer[1]}.bias", shape)


def _norm(layer: Layer, channels: int, source: int) -> Iterator[TensorName]:
    theirs, shape = _NORM_SHARED if source == _REFERENCE else _NORM_TORCH, (channels,)
    for own, their in zip(_NORM_SHARED, theirs, strict=True):
        yield TensorName(f"{layer[0]}.{own}", shape, f"{layer[1]}.{their}", shape)
