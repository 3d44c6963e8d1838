"""EfficientNet B0 to B7; `scaling` computes the sizes of each."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from effnet.errors import EffnetError
from effnet.kernels.fused import Operator
from effnet.model import scaling
from effnet.model.depthwise import DepthwiseConv
from effnet.model.initialise import initialise
from effnet.model.scaling import BlockSpec


class InvalidModel(EffnetError):
    """The network cannot be built from these values."""

    kind = "config"


class _SqueezeExcite(nn.Cell):
    """Scales each channel by a gate in (0, 1) computed from all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = _conv(channels, squeezed, bias=True)
        self.expand = _conv(squeezed, channels, bias=True)

    def construct(self, x: Tensor) -> Tensor:
        gate = ops.mean(x, (2, 3), True)
        gate = self.expand(ops.silu(self.reduce(gate)))
        return x * ops.sigmoid(gate)


class _Block(nn.Cell):
    """Expand, depthwise, squeeze-excite, project; the input is added where shapes allow."""

    def __init__(self, spec: BlockSpec, padding: str, bn_momentum: float, bn_eps: float) -> None:
        super().__init__()
        channels = spec.expanded_channels
        self.expands = spec.expand_ratio != 1
        if self.expands:
            self.expand = _conv(spec.in_channels, channels)
            self.expand_norm = nn.BatchNorm2d(channels, eps=bn_eps, momentum=bn_momentum)
        self.depthwise = DepthwiseConv(channels, spec.kernel, spec.stride, padding)
        self.depthwise_norm = nn.BatchNorm2d(channels, eps=bn_eps, momentum=bn_momentum)
        self.se = _SqueezeExcite(channels, spec.se_channels)
        self.project = _conv(channels, spec.out_channels)
        self.project_norm = nn.BatchNorm2d(spec.out_channels, eps=bn_eps, momentum=bn_momentum)
        self.has_skip = spec.has_skip
        self.fused: Operator | None = None
        self.settings: Tensor | None = None
        self.settings_outside: Tensor | None = None

    def construct(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        y = x
        if self.expands:
            y = ops.silu(self.expand_norm(self.expand(y)))
        y = ops.silu(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(self.se(y)))
        if self.has_skip:
            if scale is not None:
                y = y * scale
            y = y + x
        return y

    def whole(self, x: Tensor, noise: Tensor, evaluates: bool) -> Tensor:
        """The block as one operator, on maps of `effnet.kernels.fused`."""
        assert self.fused is not None
        settings = self.settings_outside if evaluates else self.settings
        depthwise, se, project = self.depthwise_norm, self.se, self.project_norm
        if self.expands:
            expand = self.expand_norm
            y, _ = self.fused(
                settings, noise, x, self.expand.weight,
                expand.gamma, expand.beta, expand.moving_mean, expand.moving_variance,
                self.depthwise.weight, depthwise.gamma, depthwise.beta,
                depthwise.moving_mean, depthwise.moving_variance,
                se.reduce.weight, se.reduce.bias, se.expand.weight, se.expand.bias,
                self.project.weight, project.gamma, project.beta,
                project.moving_mean, project.moving_variance,
            )  # fmt: skip
        else:
            y, _ = self.fused(
                settings, noise, x,
                self.depthwise.weight, depthwise.gamma, depthwise.beta,
                depthwise.moving_mean, depthwise.moving_variance,
                se.reduce.weight, se.reduce.bias, se.expand.weight, se.expand.bias,
                self.project.weight, project.gamma, project.beta,
                project.moving_mean, project.moving_variance,
            )  # fmt: skip
        return y


class EfficientNet(nn.Cell):
    """Images (N, 3, H, W), float32, normalised -> logits (N, num_classes).

    It draws no random numbers: stochastic depth and dropout take theirs from `noise`,
    (N, noise_width) float32, uniform in [0, 1), one column for each block with a skip
    connection, in order, then one for each channel that the classifier sees. Without noise,
    or outside training, neither is applied.

    A new network is in training mode, with first values drawn from `seed`. `dropout` and `bn_eps`
    default to the variant's and the padding's own. `bn_momentum` is TensorFlow's: the share of the
    old moving statistic that stays. Raises `UnknownVariant`, `InvalidModel`.
    """

    def __init__(
        self,
        variant: str = scaling.DEFAULT_VARIANT,
        num_classes: int = 1000,
        padding: str = "symmetric",
        dropout: float | None = None,
        drop_path: float = scaling.DEFAULT_DROP_PATH,
        bn_momentum: float = 0.99,
        bn_eps: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if padding not in scaling.BN_EPS:
            known = ", ".join(scaling.BN_EPS)
            raise InvalidModel(f"unknown padding {padding!r}", hint=f"one of {known}")
        if num_classes < 1:
            raise InvalidModel(f"num_classes is {num_classes}, must be at least 1")
        dropout = scaling.variant(variant).dropout if dropout is None else dropout
        bn_eps = scaling.BN_EPS[padding] if bn_eps is None else bn_eps
        for name, value in (("dropout", dropout), ("drop_path", drop_path)):
            if not 0.0 <= value < 1.0:
                raise InvalidModel(f"{name} is {value}, must be at least 0 and below 1")
        if not 0.0 <= bn_momentum <= 1.0:
            raise InvalidModel(f"bn_momentum is {bn_momentum}, must be from 0 to 1")
        if bn_eps <= 0.0:
            raise InvalidModel(f"bn_eps is {bn_eps}, must be above 0")
        specs = scaling.blocks(variant, drop_path)
        stem_channels = scaling.stem_channels(variant)
        self.feature_channels = scaling.feature_channels(variant)

        self.stem = _conv(3, stem_channels, kernel=3, stride=2, padding=padding)
        self.stem_norm = nn.BatchNorm2d(stem_channels, eps=bn_eps, momentum=bn_momentum)
        self.blocks = nn.CellList([_Block(spec, padding, bn_momentum, bn_eps) for spec in specs])
        self.head = _conv(specs[-1].out_channels, self.feature_channels)
        self.head_norm = nn.BatchNorm2d(self.feature_channels, eps=bn_eps, momentum=bn_momentum)
        self.classifier = nn.Dense(
            self.feature_channels, num_classes, weight_init="zeros", bias_init="zeros"
        )

        skips = [spec for spec in specs if spec.has_skip]
        self.skip_count = len(skips)
        self.block_has_skip = tuple(spec.has_skip for spec in specs)
        self.block_keep = tuple(1.0 - spec.drop_rate for spec in specs)
        self.block_drops = (drop_path > 0.0,) * len(specs)
        self.pads_as_tf, self.bn_eps, self.bn_momentum = padding == "same", bn_eps, bn_momentum
        self.drops_features = dropout > 0.0
        self.feature_keep = 1.0 - dropout
        self.fused_stem: Operator | None = None
        self.fused_head: Operator | None = None
        self.settings: Tensor | None = None
        self.settings_outside: Tensor | None = None
        self.no_noise = Tensor(np.zeros(1, np.float32))
        initialise(self, seed)
        self.set_train(True)

    @property
    def noise_width(self) -> int:
        """Columns of `noise`."""
        return int(self.skip_count + self.feature_channels)

    def construct(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        if self.fused_stem is not None and self.training:
            x = self._fused_features(x, noise)
        else:
            x = self._features(x, noise)
        if noise is not None and self.training and self.drops_features:
            keep = self.feature_keep
            x = x * (ops.floor(noise[:, self.skip_count :] + keep) / keep)
        return self.classifier(x)

    def evaluated(self, x: Tensor) -> Tensor:
        """Logits outside training, by the fused operators. They have no gradients there."""
        return self.classifier(self._fused_features(x, None, evaluates=True))

    def _features(self, x: Tensor, noise: Tensor | None) -> Tensor:
        x = ops.silu(self.stem_norm(self.stem(x)))
        column = 0
        for index, block in enumerate(self.blocks):
            if self.block_has_skip[index]:
                if noise is not None and self.training and self.block_drops[index]:
                    keep = self.block_keep[index]
                    scale = ops.floor(noise[:, column : column + 1] + keep) / keep
                    x = block(x, scale.reshape((-1, 1, 1, 1)))
                else:
                    x = block(x)
                column += 1
            else:
                x = block(x)
        x = ops.silu(self.head_norm(self.head(x)))
        return ops.mean(x, (2, 3))

    def _fused_features(self, x: Tensor, noise: Tensor | None, evaluates: bool = False) -> Tensor:
        assert self.fused_stem is not None
        assert self.fused_head is not None
        settings = self.settings_outside if evaluates else self.settings
        norm = self.stem_norm
        x, _ = self.fused_stem(
            settings, x, self.stem.weight,
            norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance,
        )  # fmt: skip
        if noise is None:
            noise = self.no_noise
        for block in self.blocks:
            x = block.whole(x, noise, evaluates)
        norm = self.head_norm
        x, _ = self.fused_head(
            settings, x, self.head.weight,
            norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance,
        )  # fmt: skip
        return x


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    padding: str = "symmetric",
    bias: bool = False,
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        # Explicit asymmetric padding would export a wrong shape; "same" exports a right one.
        pad_mode="same" if padding == "same" else "pad",
        padding=0 if padding == "same" else kernel // 2,
        has_bias=bias,
        weight_init="zeros",
        bias_init="zeros",
    )


def batch_norm_buffers(net: nn.Cell) -> list[Parameter]:
    """The moving means and variances that training changes, in the order of the parameters."""
    return [
        parameter
        for _, cell in net.cells_and_names()
        if isinstance(cell, nn.BatchNorm2d) and cell.use_batch_statistics is None
        for parameter in (cell.moving_mean, cell.moving_variance)
    ]
