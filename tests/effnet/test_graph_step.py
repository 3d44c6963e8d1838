"""The step as one compiled graph, for real on a CPU: equal to the step that is not one."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from effnet import model
from effnet.config import TrainConfig, resolve
from effnet.data import Batch, ImageIndex
from effnet.data.dataset import train_dataset
from effnet.data.digits import write_digits
from effnet.data.folders import index_folder
from effnet.optim.schedule import LrSchedule
from effnet.train import precision, stepper
from effnet.train.graph_step import BUCKET_BYTES, GraphStep, Rates, buckets
from effnet.train.group import Group
from effnet.train.heartbeat import Heartbeat
from effnet.train.sink import Feed, Sink, SunkSteps
from effnet.train.state import StateMismatch
from effnet.train.step import LossNotFinite
from effnet.train.stop import StopRequest
from tests.effnet.ranks import run_ranks

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]

STEPS = 3
LR = 1e-3
Tensors = dict[str, np.ndarray]


def config(**given: Any) -> TrainConfig:
    """Everything that a step can do is on.

    Batch norm over 4 numbers, as of the last maps here, makes a bit's difference a per mille in two
    steps; an epsilon that is not small next to the variance takes that away.
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


@pytest.fixture(autouse=True)
def mode() -> Iterator[Callable[[str], None]]:
    """Sets MindSpore's mode as the command line does; it is PyNative again afterwards."""

    def choose(name: str) -> None:
        ms.set_context(mode=ms.GRAPH_MODE if name == "graph" else ms.PYNATIVE_MODE)

    yield choose
    choose("pynative")


class Run:
    """A network, its state and its step."""

    def __init__(self, config: TrainConfig) -> None:
        ms.set_context(mode=ms.GRAPH_MODE if config.mode == "graph" else ms.PYNATIVE_MODE)
        self.config = config
        self.net = model.create(
            config.variant,
            config.class_num,
            dropout=config.dropout,
            drop_path=config.drop_path,
            bn_momentum=config.bn_momentum,
            bn_eps=config.bn_eps,
            seed=1,
        )
        precision.apply(self.net, config.amp_level)
        self.state = stepper.state_of(self.net, config)
        schedule = LrSchedule.from_config(config, STEPS)
        self.step = stepper.make(self.net, self.state, config, Group(), Heartbeat(None), schedule)

    def take(self, first: int = 0, last: int = STEPS) -> list[float]:
        """Losses of the steps from `first` up to `last`."""
        taken = range(first, last)
        return [self.step(batch(self, n), LR, n).loss for n in taken]

    def tensors(self) -> Tensors:
        return {name: tensor.copy() for name, tensor in self.state.tensors().items()}


def batch(run: Run, step: int) -> Batch:
    count, rng = run.config.batch_size, np.random.default_rng(step)
    return Batch(
        step,
        rng.standard_normal((count, 3, 32, 32), dtype=np.float32),
        rng.integers(0, 10, count).astype(np.int32),
        rng.random((count, run.net.noise_width), dtype=np.float32),
        np.arange(count),
        np.ones(count, bool),
    )


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], Tensors]:
    """Three steps in jit mode."""
    run = Run(config(mode="jit"))
    return run.take(), run.tensors()


@pytest.fixture(scope="module")
def graph() -> tuple[list[float], Tensors, Run]:
    """The same in graph mode, and what did it."""
    run = Run(config())
    return run.take(), run.tensors(), run


def assert_close(one: Tensors, other: Tensors) -> None:
    """Within 1e-4, by the size of the tensor, or of its kind's where rounding is all there is."""
    assert one.keys() == other.keys()
    for kind in ("mean_square.", "moment.", "ema.", ""):
        names = [name for name in one if kind_of(name) == kind]
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


def test_the_graph_does_what_the_step_in_jit_mode_does(
    plain: tuple[list[float], Tensors], graph: tuple[list[float], Tensors, Run]
) -> None:
    np.testing.assert_allclose(graph[0], plain[0], rtol=1e-4)
    assert_close(plain[1], graph[1])


def test_the_updates_themselves_are_equal_after_one_step() -> None:
    """Before anything could grow: moment is lr times what RMSProp makes of the gradient."""
    found = []
    for mode in ("pynative", "graph"):
        run = Run(config(mode=mode))
        run.take(0, 1)
        found.append(run.tensors())
    for name in found[0]:
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-5, atol=1e-9)


def test_a_loss_scale_changes_nothing_in_float32(
    graph: tuple[list[float], Tensors, Run],
) -> None:
    run = Run(config(loss_scale=1024.0))
    np.testing.assert_allclose(run.take(), graph[0], rtol=1e-6)
    assert_close(graph[1], run.tensors())


def test_a_checkpoint_of_one_way_continues_in_the_other(
    plain: tuple[list[float], Tensors], graph: tuple[list[float], Tensors, Run]
) -> None:
    before = Run(config(mode="pynative"))
    before.take(0, 1)
    run = graph[2]
    run.state.load(before.tensors())
    np.testing.assert_allclose(run.take(1), plain[0][1:], rtol=1e-4)
    assert_close(plain[1], run.tensors())

    back = Run(config(mode="pynative"))
    back.state.load(graph[1])
    assert equal(back.tensors(), graph[1])


def test_a_state_that_does_not_fit_is_refused_unchanged() -> None:
    run = Run(config())
    before = run.tensors()
    with pytest.raises(StateMismatch, match=r"stem\.weight: missing"):
        run.state.load({})
    assert equal(before, run.tensors())


def test_the_network_has_the_average_only_within_the_block(
    graph: tuple[list[float], Tensors, Run],
) -> None:
    state = graph[2].state
    state.load(graph[1])
    with state.averaged():
        inside = graph[2].tensors()
        assert inside["stem.weight"].tobytes() == inside["ema.stem.weight"].tobytes()
    assert equal(graph[2].tensors(), graph[1])


def test_every_number_is_shared_in_a_fixed_order(graph: tuple[list[float], Tensors, Run]) -> None:
    state = graph[2].state
    state.load(graph[1])
    state.replace(lambda flat: flat * np.float32(2))
    doubled = graph[2].tensors()
    assert all(np.array_equal(doubled[name], 2 * graph[1][name]) for name in doubled)


@pytest.mark.parametrize("amp_level", ["O2", "O3"])
def test_mixed_precision_is_near_to_float32(
    amp_level: str, graph: tuple[list[float], Tensors, Run]
) -> None:
    run = Run(config(amp_level=amp_level, loss_scale=1024.0))
    first = run.tensors()
    losses = run.take(0, 1)
    np.testing.assert_allclose(losses, graph[0][:1], rtol=0.02)
    after = run.tensors()
    assert run.state.finite()
    assert {tensor.dtype for tensor in after.values()} == {np.dtype(np.float32)}
    for name in ("stem.weight", "head.weight", "stem_norm.moving_mean"):
        assert not np.array_equal(first[name], after[name])


def test_a_loss_that_is_not_finite_names_its_step_and_images() -> None:
    run = Run(config())
    broken = dataclasses.replace(batch(run, 0), images=np.full((4, 3, 32, 32), np.nan, np.float32))
    with pytest.raises(LossNotFinite) as raised:
        run.step(broken, LR, 0)
    assert raised.value.own
    assert raised.value.indices.tolist() == [0, 1, 2, 3]


def test_buckets_are_large_but_not_too_large() -> None:
    assert buckets((1, 2, 3), 100) == ((0, 3),)
    assert buckets((10, 10, 10), 80) == ((0, 2), (2, 3))
    assert buckets((1, 100, 1), 80) == ((0, 1), (1, 2), (2, 3))
    sizes = (1_000_000,) * 9
    assert [last - first for first, last in buckets(sizes, BUCKET_BYTES)] == [6, 3]


# -- data sinking, with the device's queue alone stood in for ----------------------------------


class HostFeed:
    """What `Feed` is where there is a queue: the next row of the data set, through the cell."""

    def __init__(self, cell: GraphStep, dataset: Any) -> None:
        self._cell = cell
        self._rows = dataset.create_tuple_iterator(num_epochs=1)
        self.closed = False

    def step(self) -> None:
        self._cell(*next(self._rows))

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageIndex:
    """30 digits: 7 steps of 4, 2 left over."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    write_digits(folder)
    for split in ("train", "val"):
        for cls in (folder / split).iterdir():
            for image in sorted(cls.iterdir())[3:]:
                image.unlink()
    return index_folder(str(folder), "train")


def test_a_sink_takes_the_same_steps_as_the_loader(images: ImageIndex, tmp_path: Path) -> None:
    from effnet.data import BadImages, train_batches

    settings = config(report_steps=3, epoch_size=2, warmup_epochs=1)
    run = Run(settings)
    first = run.tensors()
    schedule = LrSchedule.from_config(settings, 7)
    share: dict[str, Any] = {
        "rank": 0,
        "world_size": 1,
        "noise_width": run.net.noise_width,
        "bad_images": BadImages(0),
    }
    losses = []
    for epoch in (0, 1):
        for number, one in enumerate(
            train_batches(images, settings, epoch=epoch, start_step=2 * (1 - epoch), **share)
        ):
            step = 7 * epoch + 2 * (1 - epoch) + number
            losses.append(run.step(one, schedule.lr(step), step).loss)
    expected = run.tensors()

    run.state.load(first)
    stop_file = tmp_path / "stop"
    stop = StopRequest(str(stop_file))
    steps = SunkSteps(
        run.step._cell,
        settings,
        Group(),
        Heartbeat(None),
        Rates(settings, schedule),
        HostFeed,
    )
    outcomes, done = [], 2
    for epoch in (0, 1):
        for sink in steps.sinks(images, settings, epoch=epoch, start_step=2 * (1 - epoch), **share):
            if done == 13:
                stop_file.touch()
            outcomes.append(steps(sink, 0.0, done, stop))
            done += outcomes[-1].steps
    assert [outcome.steps for outcome in outcomes] == [3, 2, 3, 3, 1]
    assert [outcome.stop for outcome in outcomes] == [False] * 4 + [True]
    ends = np.cumsum([outcome.steps for outcome in outcomes])
    means = [np.mean(part) for part in np.split(np.array(losses), ends[:-1])]
    np.testing.assert_allclose([outcome.loss for outcome in outcomes], means, rtol=1e-6)
    assert equal(run.tensors(), expected)


def test_what_is_sunk_is_described_to_mindspore_which_refuses_a_cpu(images: ImageIndex) -> None:
    run = Run(config())
    with pytest.raises(ValueError, match="supports ascend or gpu"):
        Feed(run.step._cell, train_dataset(images, run.config, noise_width=run.net.noise_width))


def test_a_sink_names_the_first_step_with_a_bad_loss() -> None:
    run = Run(config(report_steps=3))

    class Broken(HostFeed):
        def __init__(self, cell: GraphStep) -> None:
            self._cell, self._number = cell, 0

        def step(self) -> None:
            one = batch(run, self._number)
            value = np.nan if self._number == 1 else 1.0
            columns = (one.images * np.float32(value), one.labels, one.noise)
            self._cell(*map(ms.Tensor, columns), ms.Tensor(np.array([LR, 0.5], np.float32)))
            self._number += 1

    rates = Rates(run.config, LrSchedule.from_config(run.config, STEPS))
    steps = SunkSteps(run.step._cell, run.config, Group(), Heartbeat(None), rates)
    steps._feed = Broken(run.step._cell)
    with pytest.raises(LossNotFinite) as raised:
        steps(Sink(np.arange(12).reshape(3, 4)), 0.0, 0)
    assert (raised.value.offset, raised.value.own) == (1, True)
    assert raised.value.indices.tolist() == [4, 5, 6, 7]


# -- two ranks ---------------------------------------------------------------------------------

RANK = """
import hashlib, sys
from effnet import device
from effnet.train.group import join

device.set_up("CPU", graph=True)
group = join(True)

import effnet.train.graph_step as graph_step
graph_step.BUCKET_BYTES = 4_000_000
from effnet.config import resolve
from effnet.train.heartbeat import Heartbeat
from effnet.train.loop import Trainer
from effnet.train.stop import StopRequest

trainer = Trainer(resolve(sets=sys.argv[1:]).config, group, Heartbeat(None))
trainer.run(StopRequest())
digest = hashlib.sha256()
for name, tensor in trainer.state.tensors().items():
    digest.update(name.encode() + tensor.tobytes())
print("several buckets", len(trainer._train_step._cell.buckets) > 2)
print("state", digest.hexdigest(), trainer.state.finite())
"""


def test_two_ranks_in_graph_mode_end_with_the_same_bits(images: ImageIndex, tmp_path: Path) -> None:
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
        "dataset_path": images.root,
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    ended = run_ranks([sys.executable, "-c", RANK, *words], 2, timeout_s=400)
    assert [one.code for one in ended] == [0, 0], ended[0].err + ended[1].err
    said = [one.out.splitlines()[-2:] for one in ended]
    assert said[0] == said[1]
    assert said[0][0] == "several buckets True"
    assert said[0][1].endswith("True")
    assert "step:[    2/    3]" in ended[0].out
