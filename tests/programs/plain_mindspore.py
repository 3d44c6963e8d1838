"""A plain MindSpore script: Model.train with LossMonitor, as one writes it for msrun.

plain_mindspore.py FOLDER [epochs]
"""

import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import dataset, nn
from mindspore.communication import get_group_size, get_rank, init
from mindspore.train import CheckpointConfig, LossMonitor, Model, ModelCheckpoint

folder = Path(sys.argv[1])
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 3

ms.set_device("CPU")
ms.set_context(mode=ms.GRAPH_MODE)
ms.set_seed(1)
init()
rank, ranks = get_rank(), get_group_size()
ms.set_auto_parallel_context(
    parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=ranks
)


def rows():
    for index in range(rank, 40, ranks):
        inputs = np.random.default_rng(index).normal(size=8).astype(np.float32)
        yield inputs, inputs.sum(keepdims=True)


data = dataset.GeneratorDataset(rows, ["inputs", "labels"], shuffle=False)
net = nn.Dense(8, 1)
first = 0
if path := os.environ.get("EFFNET_RESUME"):
    ms.load_param_into_net(net, ms.load_checkpoint(path))
    first = int(Path(path).stem.rpartition("-")[2].partition("_")[0])
callbacks = [LossMonitor(1)]
if rank == 0:
    config = CheckpointConfig(save_checkpoint_steps=5, keep_checkpoint_max=9)
    callbacks.append(ModelCheckpoint("plain", str(folder), config))
model = Model(net, nn.MSELoss(), nn.Momentum(net.trainable_params(), 0.05, 0.9))
model.train(
    epochs,
    data.batch(4),
    callbacks=callbacks,
    dataset_sink_mode=False,
    initial_epoch=first,
)
