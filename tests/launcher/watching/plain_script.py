"""A plain MindSpore script, as a user has it: LossMonitor, TimeMonitor, no line of ours.

``DIE=RANK``: this rank raises after its eighth step. It waits for the file ``GO`` at each step, so
that a test sees the job while it runs.
"""

import os
import time

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore.communication import get_rank, init
from mindspore.train import Callback, LossMonitor, Model, TimeMonitor


class Slow(Callback):  # type: ignore[misc]
    def on_train_step_end(self, run_context: object) -> None:
        step = run_context.original_args().cur_step_num  # type: ignore[attr-defined]
        while step == 7 and not os.path.exists(os.environ["GO"]):
            time.sleep(0.05)
        if step == 8 and os.environ.get("DIE") == str(get_rank()):
            raise RuntimeError("sample 17 is damaged")


ms.set_context(mode=ms.PYNATIVE_MODE)
ms.set_device("CPU")
init()
ms.set_auto_parallel_context(parallel_mode="data_parallel", gradients_mean=True)
numbers = np.random.default_rng(0)
pairs = [(numbers.random(4, "f4"), numbers.random(1, "f4")) for _ in range(40)]
data = ms.dataset.GeneratorDataset(pairs, ["x", "y"], shuffle=False).batch(8)
net = nn.Dense(4, 1)
model = Model(net, nn.MSELoss(), nn.Momentum(net.trainable_params(), 0.01, 0.9))
callbacks = [LossMonitor(), TimeMonitor(), Slow()]
model.train(3, data, callbacks=callbacks, dataset_sink_mode=False)
