"""What a rank on a CPU imports: its launcher imports it once a node, and forks the ranks.

Only imports: afterwards the process must still have one thread, and have read no variable that
differs between ranks.
"""

from __future__ import annotations

import os

# Errors only, as `effnet.device` sets it: MindSpore reads it once.
os.environ.setdefault("GLOG_v", "3")

import mindspore as mindspore
from mindspore import communication as communication

from effnet.distributed import group as group
from effnet.train import cli as cli
from effnet.train import loop as loop
