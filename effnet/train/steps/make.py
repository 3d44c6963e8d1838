"""Which way a step is made, by the configuration's `mode`; the loop does not care."""

from __future__ import annotations

from effnet.config import TrainConfig
from effnet.contract.heartbeat import Heartbeat
from effnet.distributed.group import Group
from effnet.model import EfficientNet
from effnet.optim.schedule import LrSchedule
from effnet.train.state.device import GraphState
from effnet.train.state.host import TrainState
from effnet.train.steps.eager import TrainStep
from effnet.train.steps.graph import GraphStep, GraphSteps, Rates
from effnet.train.steps.sink import SunkSteps


def state_of(net: EfficientNet, config: TrainConfig) -> TrainState | GraphState:
    """The state of `net`, where the configured step wants it."""
    kind = GraphState if config.mode == "graph" else TrainState
    return kind(net, decay_bn_and_bias=config.decay_bn_and_bias, ema=config.ema_decay > 0)


def make(
    net: EfficientNet,
    state: TrainState | GraphState,
    config: TrainConfig,
    group: Group,
    heartbeat: Heartbeat,
    schedule: LrSchedule,
) -> TrainStep | GraphSteps | SunkSteps:
    """`pynative` and `jit` work on flat state in host memory, `graph` on the device's own.

    Data is sunk in graph mode wherever MindSpore can, which is on Ascend and GPU.
    """
    if isinstance(state, TrainState):
        return TrainStep(net, state, config, group, heartbeat)
    cell = GraphStep(net, state, config, group.size)
    if config.device_target == "CPU":
        return GraphSteps(cell, config, group, heartbeat)
    return SunkSteps(cell, config, group, heartbeat, Rates(config, schedule))
