"""Compound scaling: which blocks each of B0 to B7 is made of. Pure arithmetic, no MindSpore.

Sources:
  paper      https://arxiv.org/abs/1905.11946 (Tan and Le, 2019), table 1 and section 5
  reference  https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet
             (efficientnet_builder.py, efficientnet_model.py)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from effnet.errors import EffnetError

DEFAULT_VARIANT = "b2"
DEFAULT_DROP_PATH = 0.2
"""Greatest stochastic-depth rate: the reference's `drop_connect_rate`."""

BN_EPS = {"symmetric": 1e-5, "same": 1e-3}
"""By padding: PyTorch's default (timm, torchvision), and TensorFlow's."""

_CHANNEL_DIVISOR = 8
_SQUEEZE_RATIO = 0.25
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280


class UnknownVariant(EffnetError):
    """The name is not one of b0 to b7."""

    kind = "config"


@dataclass(frozen=True)
class Variant:
    """One row of the scaling table; `resolution_px` is the training size of the paper."""

    name: str
    width: float
    depth: float
    resolution_px: int
    dropout: float


#                                width depth  px  dropout
VARIANTS: dict[str, Variant] = {
    "b0": Variant("b0", 1.0, 1.0, 224, 0.2),
    "b1": Variant("b1", 1.0, 1.1, 240, 0.2),
    "b2": Variant("b2", 1.1, 1.2, 260, 0.3),
    "b3": Variant("b3", 1.2, 1.4, 300, 0.3),
    "b4": Variant("b4", 1.4, 1.8, 380, 0.4),
    "b5": Variant("b5", 1.6, 2.2, 456, 0.4),
    "b6": Variant("b6", 1.8, 2.6, 528, 0.5),
    "b7": Variant("b7", 2.0, 3.1, 600, 0.5),
}


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expand_ratio: int
    in_channels: int
    out_channels: int


# Table 1 of the paper, which is B0: each stage's first block has the stride, the rest have 1.
_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


@dataclass(frozen=True)
class BlockSpec:
    """One inverted-residual block.

    `stage` and `position` count from 0. `drop_rate` is the probability that stochastic depth
    drops the block's branch for one image; it has effect only where `has_skip`.
    """

    stage: int
    position: int
    kernel: int
    stride: int
    expand_ratio: int
    in_channels: int
    out_channels: int
    se_channels: int
    drop_rate: float

    @property
    def expanded_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.in_channels * self.expand_ratio

    @property
    def has_skip(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels


def variant(name: str) -> Variant:
    """The row of the table called `name`; raises `UnknownVariant`."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise UnknownVariant(
            f"unknown variant {name!r}", hint=f"one of {', '.join(VARIANTS)}"
        ) from None


def stem_channels(name: str) -> int:
    """Output channels of the first convolution."""
    return round_channels(_STEM_CHANNELS * variant(name).width)


def feature_channels(name: str) -> int:
    """Channels of the last convolution, which is what the classifier sees."""
    return round_channels(_HEAD_CHANNELS * variant(name).width)


def blocks(name: str, drop_path: float = DEFAULT_DROP_PATH) -> tuple[BlockSpec, ...]:
    """Every block of a variant, in order; block i of n has a drop rate of drop_path * i / n."""
    scale = variant(name)
    repeats = [math.ceil(stage.repeats * scale.depth) for stage in _STAGES]
    total = sum(repeats)
    specs: list[BlockSpec] = []
    for number, (stage, count) in enumerate(zip(_STAGES, repeats, strict=True)):
        out_channels = round_channels(stage.out_channels * scale.width)
        in_channels = round_channels(stage.in_channels * scale.width)
        for position in range(count):
            specs.append(
                BlockSpec(
                    stage=number,
                    position=position,
                    kernel=stage.kernel,
                    stride=stage.stride if position == 0 else 1,
                    expand_ratio=stage.expand_ratio,
                    in_channels=in_channels,
                    out_channels=out_channels,
                    # Of the block's input, not of its expanded channels.
                    se_channels=max(1, int(in_channels * _SQUEEZE_RATIO)),
                    drop_rate=drop_path * len(specs) / total,
                )
            )
            in_channels = out_channels
    return tuple(specs)


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, that is not more than a tenth too small."""
    rounded = max(
        _CHANNEL_DIVISOR,
        int(channels + _CHANNEL_DIVISOR / 2) // _CHANNEL_DIVISOR * _CHANNEL_DIVISOR,
    )
    if rounded < 0.9 * channels:
        rounded += _CHANNEL_DIVISOR
    return rounded
