"""The depthwise convolution, and ways of computing it that a CPU is better at.

MindSpore hands oneDNN plain NCHW tensors, for which oneDNN has no depthwise kernel: it does a
tiny matrix product for each image and channel. docs/benchmarks.md has what these forms gain.

`compiled`: a C++ kernel of our own, where it can be compiled (`effnet.kernels`). Elsewhere
MindSpore's operators, `tiled`:

`whole map`: on a small map the convolution of a channel is one matrix, so that all images of a
    batch are one matrix product. The matrix is the kernel times a constant 0/1 tensor.
`tiles`: a larger map is cut into overlapping tiles, and the same is done to each tile.

The parameter is the plain kernel in every form, so checkpoints do not depend on it, and the
form depends on the shape of one image only, so a batch's size does not change the rounding.
"""

from __future__ import annotations

import functools

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops import constexpr

from effnet.kernels.depthwise import Kernels, Operator

COMPILED, TILED, PLAIN = "compiled", "tiled", "plain"

_WHOLE_MAP_LIMIT = 16_384
"""Elements of a channel's matrix up to which the whole map is one: 8x8 to 8x8 is 4,096."""

_TILE = 4
"""Outputs along the side of a tile. More costs arithmetic, fewer cost memory."""


class DepthwiseConv(nn.Conv2d):
    """A kernel of its own for each channel: (N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s)).

    `weight` is (C, 1, k, k). `form` is `tiled` on a CPU, until one of the functions below changes
    it before the first call, and `plain` on other devices.
    """

    def __init__(self, channels: int, kernel: int, stride: int, padding: str) -> None:
        super().__init__(
            channels,
            channels,
            kernel,
            stride,
            pad_mode="same" if padding == "same" else "pad",
            padding=0 if padding == "same" else kernel // 2,
            group=channels,
            weight_init="zeros",
        )
        self.side = kernel
        self.step = stride
        self.pads_as_tf = padding == "same"
        self.form = TILED if ms.get_context("device_target") == "CPU" else PLAIN
        self.operator: Operator | None = None

    def construct(self, x: Tensor) -> Tensor:
        if self.operator is not None and self.form == COMPILED:
            return self.operator(x, self.weight)
        if self.form == TILED:
            height, width = x.shape[2:]
            if whole_map_pays(height, width, self.step):
                return _by_whole_map(x, self.weight, self.side, self.step, self.pads_as_tf)
            # Forward alone, cutting tiles out of four times the output gains nothing.
            if self.training or self.step == 1:
                return _by_tiles(x, self.weight, self.side, self.step, self.pads_as_tf)
        return self.conv2d(x, self.weight)


def use_plain_depthwise(net: nn.Cell) -> None:
    """Let `net` compute its depthwise convolutions as such, as an exported file must."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, DepthwiseConv):
            cell.form = PLAIN


def use_compiled_depthwise(net: nn.Cell, kernels: Kernels) -> None:
    """Let `net` compute its depthwise convolutions with the C++ kernel: float32, on a CPU."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, DepthwiseConv):
            cell.operator = kernels.operator(cell.step, "same" if cell.pads_as_tf else "symmetric")
            cell.form = COMPILED


def output_size(size: int, stride: int) -> int:
    """Outputs along one side; the same for both paddings, since kernels are odd."""
    return -(-size // stride)


def whole_map_pays(height: int, width: int, stride: int) -> bool:
    """Whether a map is small enough for its whole convolution to be one matrix."""
    outputs = output_size(height, stride) * output_size(width, stride)
    return height * width * outputs <= _WHOLE_MAP_LIMIT


def _pad_before(size: int, kernel: int, stride: int, pads_as_tf: bool) -> int:
    """Zeros before the first pixel; TensorFlow puts the odd one, if any, at the end."""
    if not pads_as_tf:
        return kernel // 2
    return max((output_size(size, stride) - 1) * stride + kernel - size, 0) // 2


def _by_whole_map(x: Tensor, weight: Tensor, kernel: int, stride: int, pads_as_tf: bool) -> Tensor:
    images, channels, height, width = x.shape
    out_height, out_width = output_size(height, stride), output_size(width, stride)
    inputs, outputs = height * width, out_height * out_width
    if inputs == 1:
        # One pixel meets one tap, the middle one.
        middle = kernel // 2
        return x * weight[:, 0, middle, middle].reshape((channels, 1, 1))
    taps = _whole_map_taps(height, width, kernel, stride, pads_as_tf)
    matrix = ops.matmul(weight.reshape((channels, kernel * kernel)), taps.astype(weight.dtype))
    matrix = matrix.reshape((channels, inputs, outputs))
    x = ops.transpose(x.reshape((images, channels, inputs)), (1, 0, 2))
    y = ops.transpose(ops.bmm(x, matrix), (1, 0, 2))
    return y.reshape((images, channels, out_height, out_width))


def _by_tiles(x: Tensor, weight: Tensor, kernel: int, stride: int, pads_as_tf: bool) -> Tensor:
    images, channels, height, width = x.shape
    out_height, out_width = output_size(height, stride), output_size(width, stride)
    rows, columns = output_size(out_height, _TILE), output_size(out_width, _TILE)
    # A tile of inputs, and how far the next one starts from it.
    side = (_TILE - 1) * stride + kernel
    step = _TILE * stride
    top = _pad_before(height, kernel, stride, pads_as_tf)
    left = _pad_before(width, kernel, stride, pads_as_tf)
    bottom = max((rows - 1) * step + side - height - top, 0)
    right = max((columns - 1) * step + side - width - left, 0)
    x = _pad(_pad(x, 2, top, bottom), 3, left, right)
    # (N * C, a tile's inputs, tiles)
    x = ops.unfold(x, side, 1, 0, step)
    x = x.reshape((images * channels, side * side, rows * columns))

    taps = _tile_taps(kernel, stride)
    matrix = ops.matmul(weight.reshape((channels, kernel * kernel)), taps.astype(weight.dtype))
    matrix = ops.tile(matrix.reshape((1, channels, _TILE * _TILE, side * side)), (images, 1, 1, 1))
    y = ops.bmm(matrix.reshape((images * channels, _TILE * _TILE, side * side)), x)
    y = y.reshape((images, channels, _TILE, _TILE, rows, columns))
    y = ops.transpose(y, (0, 1, 4, 2, 5, 3))
    y = y.reshape((images, channels, rows * _TILE, columns * _TILE))
    if rows * _TILE != out_height or columns * _TILE != out_width:
        # On a CPU, indexing copies element by element; this copies rows.
        y = ops.slice(y, (0, 0, 0, 0), (images, channels, out_height, out_width))
    return y


def _pad(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """`x` between zeros along one axis.

    On a CPU, ops.Pad computes two 64-bit divisions for each element; this copies rows.
    """
    parts = [x]
    if before:
        parts = [_zeros(x, axis, before), *parts]
    if after:
        parts = [*parts, _zeros(x, axis, after)]
    return ops.concat(parts, axis) if before or after else x


def _zeros(x: Tensor, axis: int, count: int) -> Tensor:
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return ops.zeros(shape, x.dtype)


def _make_whole_map_taps(
    height: int, width: int, kernel: int, stride: int, pads_as_tf: bool
) -> Tensor:
    """0/1, (k * k, H * W * outputs): which tap takes an input pixel to an output pixel."""
    top = _pad_before(height, kernel, stride, pads_as_tf)
    left = _pad_before(width, kernel, stride, pads_as_tf)
    down = _line_taps(height, output_size(height, stride), kernel, stride, top)
    across = _line_taps(width, output_size(width, stride), kernel, stride, left)
    return Tensor(np.einsum("aio,bjp->abijop", down, across).reshape(kernel * kernel, -1))


def _make_tile_taps(kernel: int, stride: int) -> Tensor:
    """0/1, (k * k, outputs * inputs) of a tile, whose padding has been done before."""
    line = _line_taps((_TILE - 1) * stride + kernel, _TILE, kernel, stride, 0)
    return Tensor(np.einsum("aio,bjp->abopij", line, line).reshape(kernel * kernel, -1))


def _line_taps(
    inputs: int, outputs: int, kernel: int, stride: int, before: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """0/1, (k, inputs, outputs): the same along one side."""
    taps = np.zeros((kernel, inputs, outputs), np.float32)
    for tap in range(kernel):
        for output in range(outputs):
            at = output * stride + tap - before
            if 0 <= at < inputs:
                taps[tap, at, output] = 1.0
    return taps


# constexpr: called by Python while a graph is compiled. The cache is for PyNative, and all
# blocks with maps of one size share an entry.
_whole_map_taps = constexpr(functools.cache(_make_whole_map_taps))
_tile_taps = constexpr(functools.cache(_make_tile_taps))
