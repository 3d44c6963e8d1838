"""What a plan needs to know of this machine."""

from __future__ import annotations

import os

from launcher.core.profile.address import is_loopback
from launcher.ipc.operations import GetFacts, NodeAnswer
from launcher.machine import device_ips
from launcher.planning.port import PortClaim


def get(request: GetFacts) -> NodeAnswer:
    port = 0
    if request.master and not is_loopback(request.master):
        claim = PortClaim(request.master)
        port = claim.port
        claim.release()
    return NodeAnswer(
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        runs_directory=os.path.expanduser(request.runs_directory),
        port=port,
        device_ips=tuple(device_ips.read(request.devices).items()),
        python=os.path.expanduser(request.python),
    )
