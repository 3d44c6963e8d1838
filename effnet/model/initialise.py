"""First values of the parameters, as TensorFlow's EfficientNet and timm draw them.

Sources: `conv_kernel_initializer` and `dense_kernel_initializer` in the reference's
efficientnet_model.py; `_init_weight_goog` in timm/models/_efficientnet_builder.py (the
depthwise fan-out there is divided by the groups, which TensorFlow gets from its kernel shape).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray


def initialise(net: nn.Cell, seed: int) -> None:
    """Draw every parameter of `net` from `seed` and its own name, and reset the statistics.

    No global state is read or changed, so the values do not depend on what was built before. For a
    new network: one that was compiled would still compute with the old values.
    """
    for parameter in net.get_parameters():
        values = initial_value(parameter.name, tuple(parameter.shape), seed)
        # Half the time of `ops.assign`, which a network that has been compiled would need.
        parameter.set_data(Tensor(values))


def initial_value(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """The first value of one parameter, float32; what it is follows from its name and shape.

    Convolutions (out, in/groups, k, k): normal, std sqrt(2 / fan_out), fan_out = k * k * out /
    groups. Dense (out, in): uniform within 1/sqrt(out). Scales and variances 1, the rest 0.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    draw = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    if len(shape) == 4:
        out_channels, _, height, width = shape
        # A depthwise kernel is as many groups as channels.
        fan_out = height * width * (1 if ".depthwise." in name else out_channels)
        return draw.normal(0.0, math.sqrt(2.0 / fan_out), shape).astype(np.float32)
    if len(shape) == 2:
        limit = 1.0 / math.sqrt(shape[0])
        return draw.uniform(-limit, limit, shape).astype(np.float32)
    if name.endswith((".gamma", ".moving_variance")):
        return np.ones(shape, np.float32)
    return np.zeros(shape, np.float32)
