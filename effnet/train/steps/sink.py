"""Steps whose data is sunk: MindSpore feeds the device's queue, the host reads every K steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

from effnet.config import TrainConfig
from effnet.contract import report
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data.dataset import train_dataset
from effnet.data.folders import ImageIndex
from effnet.data.loader import train_rows
from effnet.device import AUTO
from effnet.distributed.group import Group
from effnet.optim.loss_scale import SkipNotes
from effnet.train.steps.eager import LossNotFinite, StepOutcome, report_skipped
from effnet.train.steps.graph import GraphStep, Rates, any_stop


@dataclass(frozen=True, eq=False)
class Sink:
    """Neighbouring steps of one epoch: `indices` (steps, N) are this rank's images in them."""

    indices: NDArray[np.int64]


class Feed:
    """Runs a cell on a dataset's rows, one after the other, from the device's queue."""

    def __init__(self, cell: nn.Cell, dataset: ds.Dataset, jit_level: str) -> None:
        self._dataset = dataset
        # With the shapes given, MindSpore does not query them at every step. For K steps it runs a
        # sink of one step K times, as here; so an epoch's last sink can be shorter.
        shapes = zip(dataset.output_shapes(), dataset.output_types(), strict=True)
        signature = [Tensor(np.zeros(shape, kind)) for shape, kind in shapes]
        self._step: Callable[[], Tensor] = ms.data_sink(
            cell, dataset, 1, ms.JitConfig("" if jit_level == AUTO else jit_level), signature
        )

    def step(self) -> None:
        """Begin one step; the device need not have done it when this returns."""
        self._step()

    def close(self) -> None:
        """Stop feeding the queue and free it on the device, as MindSpore's `Model` does."""
        queue = self._dataset.__transfer_dataset__
        queue.stop_send()
        queue.release()


class SunkSteps:
    """Runs a `GraphStep` a sink at a time; `rates` make the last column of each step's row."""

    def __init__(
        self,
        cell: GraphStep,
        config: TrainConfig,
        group: Group,
        heartbeat: Heartbeat,
        rates: Rates,
        feed: Callable[[nn.Cell, ds.Dataset, str], Feed] = Feed,
    ) -> None:
        self._cell = cell
        self._notes = SkipNotes(cell.scaler.asnumpy())
        self._group = group
        self._heartbeat = heartbeat
        self._rates = rates
        self._make_feed = feed
        self._feed: Feed | None = None
        self._next = (-1, -1)
        self._phases = itertools.chain(("compile",), itertools.repeat("compute"))
        if config.save_checkpoint_steps % config.report_steps and group.rank == 0:
            report.emit(
                f"note: save_checkpoint_steps {config.save_checkpoint_steps} is rounded up to where"
                f" a sink of report_steps {config.report_steps} ends"
            )

    def sinks(
        self,
        index: ImageIndex,
        config: TrainConfig,
        *,
        epoch: int,
        start_step: int,
        ranks: Sequence[int],
        world_size: int,
        **share: Any,
    ) -> Generator[Sink, None, None]:
        """What is left of an epoch, `report_steps` steps at a time.

        The arguments are those of `effnet.data.train_batches`. The queue is filled for the whole
        run from the first call on, so each call must continue where the previous one ended.
        The queue is closed after the last epoch, or when the iterator is closed early.
        """
        rows = train_rows(index, config, epoch, ranks, world_size)
        if self._feed is None:
            share |= {"ranks": ranks, "world_size": world_size, "rates": self._rates}
            dataset = train_dataset(index, config, epoch=epoch, start_step=start_step, **share)
            self._feed = self._make_feed(self._cell, dataset, config.jit_level)
        elif (epoch, start_step) != self._next:
            raise RuntimeError(f"the queue is at {self._next}, not at {(epoch, start_step)}")
        self._next = (epoch + 1, 0)
        over = True
        try:
            for first in range(start_step, len(rows), config.report_steps):
                yield Sink(rows[first : first + config.report_steps])
            over = epoch + 1 == config.epoch_size
        finally:
            if over:
                self.close()

    def __call__(
        self, sink: Sink, lr: float, step: int, stop: StopRequest | None = None
    ) -> StepOutcome:
        """Its learning rates are in the rows. Raises `LossNotFinite` after the state was changed,
        for the first step of the sink with such a loss.
        """
        if self._feed is None:
            raise RuntimeError("call `sinks` before a step")
        steps = len(sink.indices)
        self._heartbeat.phase(next(self._phases))
        for _ in range(steps):
            self._feed.step()
        loss_sum, finite, own_finite = self._cell.pop_progress()
        if finite < steps:
            raise LossNotFinite(loss_sum, own_finite <= finite, sink.indices[finite], finite)
        report_skipped(self._notes, self._cell.scaler.asnumpy(), step + steps, self._group)
        stopping = any_stop(stop, self._group, self._heartbeat)
        return StepOutcome(loss_sum / steps, None, stopping, steps)

    def close(self) -> None:
        """Close the queue."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
