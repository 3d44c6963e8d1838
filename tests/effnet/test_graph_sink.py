"""Data sinking, with the device's queue alone stood in for."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data import BadImages, train_batches
from effnet.data.dataset import train_dataset
from effnet.data.folders import ImageIndex, index_folder
from effnet.distributed.group import Group
from effnet.optim.schedule import LrSchedule
from effnet.train.steps.eager import LossNotFinite
from effnet.train.steps.graph import GraphStep, Rates
from effnet.train.steps.sink import Feed, Sink, SunkSteps
from tests.effnet.graph_runs import LR, STEPS, Taken, batch, config, equal

pytestmark = [pytest.mark.mindspore, pytest.mark.slow, pytest.mark.usefixtures("mode_restored")]


class HostFeed:
    """What `Feed` is where there is a queue: the next row of the data set, through the cell."""

    def __init__(self, cell: GraphStep, dataset: Any, jit_level: str) -> None:
        self._cell = cell
        self._rows = dataset.create_tuple_iterator(num_epochs=1)
        self.closed = False

    def step(self) -> None:
        self._cell(*next(self._rows))

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def images(thirty_digits: Path) -> ImageIndex:
    """7 steps of 4, 2 left over."""
    return index_folder(str(thirty_digits), "train")


def test_a_sink_takes_the_same_steps_as_the_loader(
    in_graph: Taken, images: ImageIndex, tmp_path: Path
) -> None:
    # The keys that differ are not in the compiled step.
    settings = config(report_steps=3, epoch_size=2, warmup_epochs=1)
    run = in_graph.run
    run.enter()
    run.state.load(in_graph.first)
    schedule = LrSchedule.from_config(settings, 7)
    share: dict[str, Any] = {
        "ranks": [0],
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

    run.state.load(in_graph.first)
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


def test_the_sink_data_set_is_described_to_mindspore_which_refuses_a_cpu(
    in_graph: Taken, images: ImageIndex
) -> None:
    run = in_graph.run
    run.enter()
    with pytest.raises(ValueError, match="supports ascend or gpu"):
        Feed(
            run.step._cell,
            train_dataset(images, run.config, noise_width=run.net.noise_width),
            run.config.jit_level,
        )


@pytest.mark.parametrize(("level", "mindspores"), [("auto", ""), ("O0", "O0"), ("O1", "O1")])
def test_a_queue_is_compiled_as_the_key_says_and_freed_when_it_is_closed(
    level: str, mindspores: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls are those of MindSpore's own `Model` at the end of a sink."""
    calls: list[Any] = []

    class Queue:
        def stop_send(self) -> None:
            calls.append("stop_send")

        def release(self) -> None:
            calls.append("release")

    class Described:
        __transfer_dataset__ = Queue()

        def output_shapes(self) -> list[list[int]]:
            return [[4, 3, 32, 32]]

        def output_types(self) -> list[type]:
            return [np.float32]

    def data_sink(cell: Any, dataset: Any, size: int, jit: ms.JitConfig, signature: Any) -> Any:
        calls.append((size, jit.jit_config_dict["jit_level"], signature[0].shape))

    monkeypatch.setattr(ms, "data_sink", data_sink)
    Feed(ms.nn.Cell(), Described(), level).close()
    assert calls == [(1, mindspores, (4, 3, 32, 32)), "stop_send", "release"]
    ends = inspect.getsource(ms.train.model.Model._train_dataset_sink_process)
    assert ends.index("dataset_helper.stop_send()") < ends.index("dataset_helper.release()")


def test_a_sink_names_the_first_step_with_a_bad_loss(in_graph: Taken) -> None:
    run = in_graph.run
    run.enter()
    settings = config(report_steps=3)

    class Broken(HostFeed):
        def __init__(self, cell: GraphStep) -> None:
            self._cell, self._number = cell, 0

        def step(self) -> None:
            one = batch(run, self._number)
            value = np.nan if self._number == 1 else 1.0
            columns = (one.images * np.float32(value), one.labels, one.noise)
            self._cell(*map(ms.Tensor, columns), ms.Tensor(np.array([LR, 0.5], np.float32)))
            self._number += 1

    run.state.load(in_graph.first)
    rates = Rates(settings, LrSchedule.from_config(settings, STEPS))
    steps = SunkSteps(run.step._cell, settings, Group(), Heartbeat(None), rates)
    steps._feed = Broken(run.step._cell)
    with pytest.raises(LossNotFinite) as raised:
        steps(Sink(np.arange(12).reshape(3, 4)), 0.0, 0)
    assert (raised.value.offset, raised.value.own) == (1, True)
    assert raised.value.indices.tolist() == [4, 5, 6, 7]
