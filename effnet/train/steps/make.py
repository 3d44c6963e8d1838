"""Selects the training step and its batches by the configuration's `mode`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol

from effnet.config import TrainConfig
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data import train_batches
from effnet.distributed import sums
from effnet.distributed.group import Group
from effnet.distributed.sums import BY_LIBRARY, Order
from effnet.model.efficientnet import EfficientNet
from effnet.optim.schedule import LrSchedule
from effnet.train.gradients.cached import Cached
from effnet.train.gradients.compiled import evaluation
from effnet.train.state.device import GraphState
from effnet.train.state.host import TrainState
from effnet.train.steps import eager
from effnet.train.steps.eager import StepOutcome, TrainStep
from effnet.train.steps.graph import GraphStep, GraphSteps, Rates
from effnet.train.steps.sink import SunkSteps


class Step(Protocol):
    """Takes one of its batches and changes the state."""

    def __call__(
        self, batch: Any, lr: float, step: int, stop: StopRequest | None = None, /
    ) -> StepOutcome: ...


class Stepping(NamedTuple):
    """A step, and the function that makes its batches, with the arguments of `train_batches`.

    `order` is that of the step's sums over the ranks. `evaluation` compiles that, or reads it.
    """

    step: Step
    batches: Callable[..., Generator[Any, None, None]]
    order: Order
    evaluation: Cached | None = None


def state_of(net: EfficientNet, config: TrainConfig) -> TrainState | GraphState:
    """The state of `net`, in host memory or on the device, as the configured step needs it."""
    kind = GraphState if config.mode == "graph" else TrainState
    return kind(net, config)


def select(
    state: TrainState | GraphState, config: TrainConfig, group: Group
) -> sums.Selected | None:
    """How a step adds in host memory; `None` for a rank alone, and for a device's state."""
    return eager.select(state, config, group) if isinstance(state, TrainState) else None


def make(
    net: EfficientNet,
    state: TrainState | GraphState,
    config: TrainConfig,
    group: Group,
    heartbeat: Heartbeat,
    schedule: LrSchedule,
    selected: sums.Selected | None,
) -> Stepping:
    """`pynative` and `jit` work on flat state in host memory, `graph` on the device's own.

    `selected` is what `select` returned. In graph mode MindSpore's data sink is used where it
    exists: on Ascend and GPU.
    """
    if isinstance(state, TrainState):
        step = TrainStep(net, state, config, group, heartbeat, selected)
        order = Order() if selected is None else selected.order
        return Stepping(step, train_batches, order, evaluation(state, config, group))
    order = BY_LIBRARY if group.world_size > 1 else Order()
    cell = GraphStep(net, state, config, group)
    if config.device_target == "CPU":
        return Stepping(GraphSteps(cell, config, group, heartbeat), train_batches, order)
    steps = SunkSteps(cell, config, group, heartbeat, Rates(config, schedule))
    return Stepping(steps, steps.sinks, order)
