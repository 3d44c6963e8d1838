"""Two real ranks in graph mode, through several buckets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.effnet import ranks

pytestmark = [pytest.mark.mindspore, pytest.mark.slow, pytest.mark.usefixtures("small_b0")]

RANK = """
import hashlib, sys
from effnet import device
from effnet.distributed.group import join

device.set_up("CPU", graph=True)
group = join(True, "CPU")

import effnet.train.steps.graph as graph_step

graph_step.BUCKET_BYTES = 20_000
from effnet.config import resolve
from effnet.contract.reporter import Heartbeat
from effnet.contract.reporter import StopRequest
from effnet.train.loop import Trainer
from effnet.train.state.host import is_finite

trainer = Trainer(resolve(sets=sys.argv[1:]).config, group, Heartbeat(None))
trainer.run(StopRequest())
digest = hashlib.sha256()
for name, tensor in trainer.state.tensors().items():
    digest.update(name.encode() + tensor.tobytes())
print("several buckets", len(trainer._train.step._cell.buckets) > 2)
print("state", digest.hexdigest(), is_finite(trainer.state.tensors()))
"""


def test_two_ranks_in_graph_mode_end_with_the_same_bits(
    thirty_digits: Path, tmp_path: Path
) -> None:
    """Statistics and averages included, through several buckets."""
    settings = {
        "variant": "b0",
        "class_num": 10,
        "image_size": 32,
        "batch_size": 4,
        "epoch_size": 1,
        "warmup_epochs": 0,
        "mode": "graph",
        "ema_decay": 0.9,
        "interval": 0,
        "save_checkpoint": False,
        "dataset_path": thirty_digits,
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    ended = ranks.run([sys.executable, "-c", RANK, *words], 2, tmp_path, timeout_s=400)
    assert [one.exit_code for one in ended] == [0, 0], ended[0].text + ended[1].text
    printed = [one.out.splitlines()[-2:] for one in ended]
    assert printed[0] == printed[1]
    assert printed[0][0] == "several buckets True"
    assert printed[0][1].endswith("True")
    assert "step:[    2/    3]" in ended[0].out
