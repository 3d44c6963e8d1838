"""Loss and gradients of one batch; the first call compiles, or reads what was compiled."""

from __future__ import annotations

import functools
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn

from effnet import device
from effnet.config import TrainConfig
from effnet.contract.reporter import Heartbeat
from effnet.distributed.group import Group
from effnet.train.gradients import probe
from effnet.train.gradients.cached import Cached, Run
from effnet.train.state.host import TrainState


class GradientCell(nn.Cell):
    """The function is a method of the cell that holds the weights: see `stage`."""

    def __init__(self, loss: nn.Cell, state: TrainState) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.weights = ms.ParameterTuple(state.parameters)
        self.with_gradients = ms.value_and_grad(loss, None, self.weights, has_aux=True)

    def gradients(self, images: Tensor, labels: Tensor, noise: Tensor, scale: Tensor) -> Any:
        return self.with_gradients(images, labels, noise, scale)


class Gradients:
    """Images, labels, noise and scale -> ((scaled loss, loss), gradients).

    In mode `jit` the first call compiles, or reads what a rank here has compiled.
    """

    def __init__(
        self,
        loss: nn.Cell,
        state: TrainState,
        config: TrainConfig,
        group: Group,
        heartbeat: Heartbeat,
    ) -> None:
        self._loss, self._state = loss, state
        self._config, self._group = config, group
        self._heartbeat = heartbeat
        self._run: Run | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        if self._run is None:
            self._heartbeat.phase("compile")
            self._run = self._first(inputs)
            self._heartbeat.phase("compute")
        return self._run(*inputs)

    def _first(self, inputs: tuple[Tensor, ...]) -> Run:
        config, state = self._config, self._state
        if config.mode != "jit":
            return GradientCell(self._loss, state).gradients

        def digest(run: Run, inputs: Any) -> str:
            return probe.digest(run, state, inputs, config.class_num)

        return Cached("step", config, self._group, digest).first(self._made, inputs)

    def _made(self) -> tuple[GradientCell, Run]:
        cell = GradientCell(self._loss, self._state)
        compiled = device.compiled(GradientCell.gradients, self._config.jit_level)
        return cell, functools.partial(compiled, cell)


def evaluation(state: TrainState, config: TrainConfig, group: Group) -> Cached:
    """For the `Evaluator` of a network whose numbers are in `state`."""

    def digest(run: Run, inputs: Any) -> str:
        return probe.evaluation(run, state, inputs, config.class_num)

    return Cached("evaluation", config, group, digest)
