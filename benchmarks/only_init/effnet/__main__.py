"""Imports MindSpore, finds its peers, ends: what msrun and effnet-launch are timed with.

Under effnet-launch the peers meet as those of the trainer do, under msrun by a bare `init()`.
"""

import os

import mindspore as ms

ms.set_device("CPU")
if "EFFNET_TOKEN" in os.environ:
    from effnet.distributed.group import join

    group = join(True, "CPU")
    print(f"rank {group.rank} of {group.size}", flush=True)
else:
    from mindspore import communication

    communication.init()
    print(f"rank {communication.get_rank()} of {communication.get_group_size()}", flush=True)
