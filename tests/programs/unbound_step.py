"""WORK SOURCE: a step that is no method of a cell, compiled, or read from the folder SOURCE.

Prints whether MindSpore read it, and the digest of what it computes.
"""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from effnet import device
from effnet.config import resolve
from effnet.model.efficientnet import EfficientNet
from effnet.train.gradients import probe
from effnet.train.gradients.stage import stage
from effnet.train.state.host import TrainState
from effnet.train.steps.loss import TrainingLoss

work, source = map(Path, sys.argv[1:])
device.set_up("CPU")
config = resolve(sets=["variant=b0", "class_num=10", "image_size=32", "depthwise=tiled"]).config
net = EfficientNet(
    "b0", 10, "symmetric", dropout=0.3, drop_path=0.2, bn_momentum=0.99, bn_eps=1e-5, seed=1
)
state = TrainState(net, config)
gradients = ms.value_and_grad(
    TrainingLoss(net, config), None, ms.ParameterTuple(state.parameters), has_aux=True
)


@ms.jit
def run(images, labels, noise, scale):
    return gradients(images, labels, noise, scale)


inputs = [
    Tensor(np.zeros((4, 3, 32, 32), np.float32)),
    Tensor(np.zeros(4, np.int32)),
    Tensor(np.zeros((4, net.noise_width), np.float32)),
    Tensor(1.0, ms.float32),
]
before = [state.weights.copy(), state.buffers.copy()]
files = {str(path.relative_to(source)): path.read_bytes() for path in source.glob("graph_cache/*")}
with stage(work, 0, files) as staged:
    found = probe.digest(run, state, inputs, 10)
    print(staged.was_read, f"[{found}]")
assert (before[0] == state.weights).all()
assert (before[1] == state.buffers).all()
