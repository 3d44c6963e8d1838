"""The compiled depthwise convolution as operators of MindSpore, with both gradients."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindspore import Tensor, ops

from effnet.kernels import build
from effnet.kernels.build import NotBuilt

Operator = Callable[[Tensor, Tensor], Tensor]
"""(images, kernel) -> images, as `DepthwiseConv`."""


@dataclass(frozen=True)
class Kernels:
    """The loaded library."""

    path: Path

    def operator(self, stride: int, padding: str) -> Operator:
        """Of (N, C, H, W) and (C, 1, k, k) for k 3 or 5 and stride 1 or 2, float32 only.

        `padding` is `symmetric` or `same`.
        """
        return _operator(str(self.path), stride, padding)


def load(threads: int) -> Kernels:
    """The kernels, compiled if need be, to run on `threads` threads. Raises `NotBuilt`."""
    path = build.library()
    try:
        # MindSpore loads the same file, and so the same threads.
        ctypes.CDLL(str(path)).set_threads(threads)
        kernels = Kernels(path)
        kernels.operator(1, "same")
    except (OSError, AttributeError) as error:
        hint = "delete it, or set XDG_CACHE_HOME to a folder where programs may run"
        raise NotBuilt(f"{path} cannot be loaded: {error}", hint=hint) from error
    except TypeError as error:
        hint = f"add {path.parent} to MS_CUSTOM_AOT_WHITE_LIST"
        raise NotBuilt(f"MindSpore refuses {path}", hint=hint) from error
    return kernels


@functools.cache
def _operator(path: str, stride: int, padding: str) -> Operator:
    def gradient_shapes(x: Any, weight: Any, _: Any) -> Any:
        return x, weight

    def output_shape(x: Any, _: Any) -> Any:
        return [x[0], x[1], -(-x[2] // stride), -(-x[3] // stride)]

    def output_type(x: Any, _: Any) -> Any:
        return x

    variant = f"{stride}_{padding}"
    backward = ops.Custom(f"{path}:backward_{variant}", gradient_shapes, gradient_shapes, "aot")

    def gradients(x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> Any:
        return backward(x, weight, dout)

    forward = f"{path}:forward_{variant}"
    operator: Operator = ops.Custom(forward, output_shape, output_type, "aot", gradients)
    return operator
