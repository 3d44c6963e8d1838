"""Imports MindSpore, finds its peers, ends: what msrun and effnet-launch are timed with."""

import mindspore as ms
from mindspore import communication

ms.set_device("CPU")
communication.init()
print(f"rank {communication.get_rank()} of {communication.get_group_size()}", flush=True)
