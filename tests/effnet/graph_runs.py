"""A small network, its state and its step, in each way that a step can be made.

Compiling is most of what these tests cost, so the network is B0 with a quarter of its channels and
four blocks: with and without expansion, stride and skip, of both kernel sizes. One test takes a
step of the real B0, whose hundreds of tensors are past MindSpore's limits on what it unrolls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from effnet.config import TrainConfig, resolve
from effnet.contract.reporter import Heartbeat
from effnet.data import Batch
from effnet.data.augment.mixing import Mixing
from effnet.distributed.group import Group
from effnet.evaluate.depthwise import choose
from effnet.model import scaling
from effnet.model.efficientnet import EfficientNet
from effnet.model.freeze import freeze
from effnet.model.fused import FUSED
from effnet.optim.schedule import LrSchedule
from effnet.train import precision
from effnet.train.steps import make

STEPS = 3
LR = 1e-3
SMALL = scaling.Variant("b0", width=0.25, depth=0.33, resolution_px=224, dropout=0.2)
Network = tuple[scaling.Variant, tuple[scaling._Stage, ...]]
ALL, FEW = scaling._STAGES, (*scaling._STAGES[:2], replace(scaling._STAGES[2], repeats=1))
FOUR_BLOCKS: Network = replace(SMALL, depth=1.0), FEW
EIGHT_BLOCKS: Network = SMALL, ALL
WHOLE: Network = scaling.VARIANTS["b0"], ALL
Tensors = dict[str, np.ndarray]


def config(**given: Any) -> TrainConfig:
    """Everything that a step can do is on.

    Batch norm over few numbers makes a bit's difference a per mille in two steps; an epsilon that
    is not small next to the variance takes that away.
    """
    values = {
        "device_target": "CPU",
        "variant": "b0",
        "class_num": 10,
        "image_size": 32,
        "batch_size": 4,
        "bn_eps": 0.1,
        "bn_momentum": 0.9,
        "dropout": 0.3,
        "drop_path": 0.2,
        "ema_decay": 0.9,
        "weight_decay": 1e-2,
        "decay_bn_and_bias": False,
        "mode": "graph",
    }
    return resolve(flags={**values, **given}).config


class Run:
    """A network, its state and its step."""

    def __init__(
        self, config: TrainConfig, b0: Network = FOUR_BLOCKS, group: Group | None = None
    ) -> None:
        self.config = config
        self.group = group or Group()
        self.enter()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(scaling.VARIANTS, "b0", b0[0])
            patch.setattr(scaling, "_STAGES", b0[1])
            self.net = EfficientNet(
                config.variant,
                config.class_num,
                dropout=config.dropout,
                drop_path=config.drop_path,
                bn_momentum=config.bn_momentum,
                bn_eps=config.bn_eps,
                seed=1,
            )
        freeze(self.net, config.freeze)
        precision.apply(self.net, config.amp_level)
        if config.depthwise == FUSED:
            choose(config, self.group).apply(self.net)
        self.state = make.state_of(self.net, config)
        schedule = LrSchedule.from_config(config, STEPS)
        selected = make.select(self.state, config, self.group)
        made = make.make(
            self.net, self.state, config, self.group, Heartbeat(None), schedule, selected
        )
        self.step = made.step

    def enter(self) -> None:
        """MindSpore's mode, as the command line sets it for this configuration."""
        graph = self.config.mode == "graph"
        ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)

    def take(self, first: int = 0, last: int = STEPS) -> list[float]:
        """Losses of the steps from `first` up to `last`."""
        self.enter()
        return [self.step(batch(self, n), LR, n).loss for n in range(first, last)]

    def tensors(self) -> Tensors:
        return {name: tensor.copy() for name, tensor in self.state.tensors().items()}


@dataclass(frozen=True)
class Taken:
    """A run, its state before its first step and after `STEPS`, and their losses."""

    run: Run
    first: Tensors
    losses: list[float]
    last: Tensors

    @classmethod
    def by(cls, group: Group | None = None, **given: Any) -> Taken:
        run = Run(config(**given), group=group)
        return cls(run, run.tensors(), run.take(), run.tensors())


def batch(run: Run, step: int) -> Batch:
    config, rng = run.config, np.random.default_rng(step)
    carried, mixing = len(run.group.logical_ranks), Mixing.from_config(config)
    count = config.images_per_step * carried
    # First what networks of any size have in common.
    images = rng.standard_normal((count, 3, 32, 32), dtype=np.float32)
    labels = rng.integers(0, 10, count).astype(np.int32)
    noise = rng.random((count, run.net.noise_width), dtype=np.float32)
    if mixing.is_on:
        columns = mixing.columns(config.batch_size, config.accumulation_steps * carried, rng)
        noise = np.concatenate((noise, columns), axis=1)
    return Batch(
        step,
        images,
        labels,
        noise,
        np.arange(count),
        np.ones(count, bool),
    )


def assert_close(one: Tensors, other: Tensors) -> None:
    """Within 1e-4, by the size of the tensor, or of its kind's where rounding is all there is."""
    assert one.keys() == other.keys()
    for kind in ("mean_square.", "moment.", "ema.", ""):
        names = [name for name in one if kind_of(name) == kind]
        if not names:
            continue
        root_mean_square = np.sqrt(np.mean([np.mean(one[name] ** 2) for name in names]))
        for name in names:
            size = max(root_mean_square, np.abs(one[name]).max())
            worst = np.abs(one[name] - other[name]).max() / size
            assert worst < 1e-4, f"{name}: {worst}"


def kind_of(name: str) -> str:
    first = name.split(".")[0] + "."
    return first if first in ("mean_square.", "moment.", "ema.") else ""


def equal(one: Tensors, other: Tensors) -> bool:
    assert one.keys() == other.keys()
    return all(one[name].tobytes() == other[name].tobytes() for name in one)
