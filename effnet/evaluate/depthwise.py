"""Which form computes the depthwise convolutions of a run: the same one on all ranks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from effnet import device
from effnet.config import TrainConfig
from effnet.distributed.group import Group
from effnet.kernels.build import NotBuilt
from effnet.kernels.depthwise import Kernels, load
from effnet.model.depthwise import (
    COMPILED,
    PLAIN,
    TILED,
    use_compiled_depthwise,
    use_plain_depthwise,
)
from effnet.model.efficientnet import EfficientNet
from effnet.model.fused import FUSED, use_fused_blocks

AUTO = "auto"


@dataclass(frozen=True)
class Form:
    """One of the values of the key `depthwise`, but `auto`; `notes` are for the user."""

    name: str
    kernels: Kernels | None = None
    notes: tuple[str, ...] = ()

    def apply(self, net: EfficientNet) -> None:
        """Call it before the network's first call."""
        if self.name == PLAIN:
            use_plain_depthwise(net)
        if self.kernels is not None:
            use = use_fused_blocks if self.name == FUSED else use_compiled_depthwise
            use(net, self.kernels)

    def written_to(self, config: TrainConfig) -> TrainConfig:
        """`config` with what `auto` became, so that a checkpoint says which form computed."""
        return dataclasses.replace(config, depthwise=self.name)


def choose(config: TrainConfig, group: Group) -> Form:
    """Call it on every rank, since it waits for the others.

    Raises `NotBuilt` where the configuration requires compiled kernels and a rank has none.
    """
    wanted = config.depthwise
    if config.device_target != "CPU" or config.amp_level != "O0":
        return Form(PLAIN)
    if wanted not in (AUTO, FUSED, COMPILED):
        return Form(wanted)
    kernels, reason = None, None
    try:
        kernels = load(device.thread_count())
    except NotBuilt as error:
        reason = error
    if group.all(kernels is not None):
        if wanted == AUTO:
            # A frozen batch norm computes otherwise.
            wanted = FUSED if config.freeze == "none" else COMPILED
        return Form(wanted, kernels)
    if reason is None:
        reason = NotBuilt("another rank cannot compile them", hint="see the log of each rank")
    if wanted != AUTO:
        raise reason
    advice = f": {reason.hint}" if reason.hint else ""
    note = f"compiled kernels would be faster, but {reason.message}{advice}"
    return Form(TILED, notes=(note,))
