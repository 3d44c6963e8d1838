"""The network as a few operators of MindSpore: stem, each block, head, with gradients.

Between them a map is (C / 16, N, H, W, 16): sixteen channels of a pixel are neighbours. In training
batch norm uses the batch's statistics, and the operators change the moving ones, as MindSpore's own
does; outside training it uses the moving ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import signature

Shape = Sequence[int]
Operator = Callable[..., Any]
"""Of settings and tensors -> the result, and what the backward pass needs."""

_LANES = 16
OUTSIDE = -1.0


@dataclass(frozen=True)
class Settings:
    """Numbers of one operator, in the order of `Settings` in block.h.

    `share` is the batch's in a moving statistic, `OUTSIDE` outside training, where the
    operators have no right gradients. `column` is the block's in the noise, -1 where it drops
    nothing; `keep` is the probability that it keeps an image's branch.
    """

    epsilon: float
    share: float
    column: int = -1
    keep: float = 1.0
    has_skip: bool = False
    stride: int = 1
    pads_as_tf: bool = False
    expands: bool = False

    def tensor(self) -> Tensor:
        """As the operators take them."""
        return Tensor(np.array(astuple(self), np.float32))


def map_shape(channels: int, images: int, height: int, width: int) -> list[int]:
    """Of a map between two operators."""
    return [-(-channels // _LANES), images, height, width, _LANES]


@functools.cache
def stem(path: str) -> Operator:
    """(settings, images, weight, gamma, beta, moving mean, moving variance) -> (map, saved)."""

    def shapes(*given: Shape) -> Any:
        images, channels = given[1], given[2][0]
        made = map_shape(channels, images[0], -(-images[2] // 2), -(-images[3] // 2))
        return made, [math.prod(made) + 2 * made[0] * _LANES]

    backward = _operator(f"{path}:stem_backward", lambda *given: given[2:5], 3)

    def gradients(
        settings: Tensor, images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor,
        mean: Tensor, variance: Tensor, out: Any, dout: Any,
    ) -> Any:  # fmt: skip
        found = backward(settings, images, weight, gamma, beta, out[1], dout[0])
        zero = ops.zeros_like
        return zero(settings), zero(images), *found, zero(mean), zero(variance)

    return _operator(f"{path}:stem_forward", shapes, 2, gradients, 7, (5, 6))


@functools.cache
def head(path: str) -> Operator:
    """(settings, map, weight, gamma, beta, moving mean, moving variance) -> (N, C), saved."""

    def shapes(*given: Shape) -> Any:
        x, channels = given[1], given[2][0]
        made = map_shape(channels, *x[1:4])
        return [x[1], channels], [math.prod(made) + 2 * made[0] * _LANES]

    backward = _operator(f"{path}:head_backward", lambda *given: given[1:5], 4)

    def gradients(
        settings: Tensor, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor,
        mean: Tensor, variance: Tensor, out: Any, dout: Any,
    ) -> Any:  # fmt: skip
        found = backward(settings, x, weight, gamma, beta, out[1], dout[0])
        zero = ops.zeros_like
        return zero(settings), *found, zero(mean), zero(variance)

    return _operator(f"{path}:head_forward", shapes, 2, gradients, 7, (5, 6))


@functools.cache
def block(path: str, stride: int) -> Operator:
    """A block without expansion.

    (settings, noise, map, depthwise weight, its gamma, beta, moving mean and variance, reduce
    weight, bias, expand weight, bias, project weight, its gamma, beta, moving mean and variance).
    """

    def shapes(*given: Shape) -> Any:
        return _block_shapes(given[2], given[3], given[8], given[12], stride, expands=False)

    backward = _operator(f"{path}:block_backward", lambda *given: given[2:13], 11)

    def gradients(
        settings: Tensor, noise: Tensor, x: Tensor,
        depthwise: Tensor, gamma_2: Tensor, beta_2: Tensor, mean_2: Tensor, variance_2: Tensor,
        reduce: Tensor, reduce_bias: Tensor, gate: Tensor, gate_bias: Tensor,
        project: Tensor, gamma_3: Tensor, beta_3: Tensor, mean_3: Tensor, variance_3: Tensor,
        out: Any, dout: Any,
    ) -> Any:  # fmt: skip
        found = backward(
            settings, noise, x, depthwise, gamma_2, beta_2, reduce, reduce_bias, gate, gate_bias,
            project, gamma_3, beta_3, out[1], dout[0],
        )  # fmt: skip
        zero = ops.zeros_like
        moving_2, moving_3 = zero(mean_2), zero(mean_3)
        return (
            zero(settings), zero(noise), *found[:4], moving_2, moving_2, *found[4:],
            moving_3, moving_3,
        )  # fmt: skip

    return _operator(f"{path}:block_forward", shapes, 2, gradients, 17, (6, 7, 15, 16))


@functools.cache
def expanding_block(path: str, stride: int) -> Operator:
    """A block with expansion: its weight, gamma, beta, mean and variance follow the map."""

    def shapes(*given: Shape) -> Any:
        return _block_shapes(given[2], given[8], given[13], given[17], stride, expands=True)

    backward = _operator(f"{path}:expanding_block_backward", lambda *given: given[2:16], 14)

    def gradients(
        settings: Tensor, noise: Tensor, x: Tensor,
        expand: Tensor, gamma_1: Tensor, beta_1: Tensor, mean_1: Tensor, variance_1: Tensor,
        depthwise: Tensor, gamma_2: Tensor, beta_2: Tensor, mean_2: Tensor, variance_2: Tensor,
        reduce: Tensor, reduce_bias: Tensor, gate: Tensor, gate_bias: Tensor,
        project: Tensor, gamma_3: Tensor, beta_3: Tensor, mean_3: Tensor, variance_3: Tensor,
        out: Any, dout: Any,
    ) -> Any:  # fmt: skip
        found = backward(
            settings, noise, x, expand, gamma_1, beta_1, depthwise, gamma_2, beta_2, reduce,
            reduce_bias, gate, gate_bias, project, gamma_3, beta_3, out[1], dout[0],
        )  # fmt: skip
        zero = ops.zeros_like
        moving_1, moving_3 = zero(mean_1), zero(mean_3)
        return (
            zero(settings), zero(noise), *found[:4], moving_1, moving_1, *found[4:7],
            moving_1, moving_1, *found[7:], moving_3, moving_3,
        )  # fmt: skip

    return _operator(
        f"{path}:expanding_block_forward", shapes, 2, gradients, 22, (6, 7, 11, 12, 20, 21)
    )


def _block_shapes(
    x: Shape, depthwise: Shape, reduce: Shape, project: Shape, stride: int, *, expands: bool
) -> Any:
    """Of the result, and of what `Saved` in block.h has."""
    images = x[1]
    sides = [-(-side // stride) for side in x[2:4]]
    wide = map_shape(depthwise[0], images, *sides)
    made = map_shape(project[0], images, *sides)
    saved = math.prod(wide) + math.prod(made)
    if expands:
        saved += math.prod(map_shape(depthwise[0], *x[1:4]))
    narrow = map_shape(reduce[0], images, 1, 1)
    saved += images * 2 * wide[0] * _LANES + math.prod(narrow)
    saved += (4 * wide[0] + 2 * made[0]) * _LANES
    return made, [saved]


def _operator(
    function: str,
    shapes: Callable[..., Any],
    outputs: int,
    gradients: Any = None,
    inputs: int = 0,
    moving: Sequence[int] = (),
) -> Operator:
    """`moving`: which of so many `inputs` it writes. A graph then reads them afterwards only."""

    def types(*given: Any) -> Any:
        return (given[0],) * outputs

    operator = ops.Custom(function, shapes, types, "aot", gradients)
    if moving:
        kinds = {True: signature.sig_rw.RW_WRITE, False: signature.sig_rw.RW_READ}
        operator.add_prim_attr("side_effect_mem", True)
        operator.set_signatures(
            [signature.make_sig(f"x{i}", kinds[i in moving]) for i in range(inputs)]
        )
    called: Operator = operator
    return called
