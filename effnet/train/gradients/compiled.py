"""Loss and gradients of one batch; the first call compiles, or reads what was compiled."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn

from effnet import device
from effnet.config import TrainConfig
from effnet.contract import report
from effnet.contract.reporter import Heartbeat
from effnet.distributed.group import Group
from effnet.errors import EffnetError, first_line
from effnet.train.gradients import probe
from effnet.train.gradients.entry import Damaged, Entry, Kept
from effnet.train.gradients.key import key
from effnet.train.gradients.stage import is_free, stage
from effnet.train.state.host import TrainState

Run = Callable[..., Any]
"""Images, labels, noise and scale -> ((scaled loss, loss), gradients)."""


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
    """A `Run`; in mode `jit` its first call compiles, or reads what a rank here has compiled."""

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
        config = self._config
        if config.mode != "jit":
            return self._made()[1]
        if not config.compile_cache or config.device_target != "CPU" or not is_free():
            return self._made()[1]
        with _noted():
            return self._from_cache(inputs)
        return self._made()[1]

    def _made(self) -> tuple[GradientCell, Run]:
        """A new cell, and its gradients as the configured mode computes them."""
        cell = GradientCell(self._loss, self._state)
        if self._config.mode != "jit":
            return cell, cell.gradients
        compiled = device.compiled(GradientCell.gradients, self._config.jit_level)
        return cell, functools.partial(compiled, cell)

    def _from_cache(self, inputs: tuple[Tensor, ...]) -> Run:
        cell, run = self._made()
        entry = Entry(key(cell.get_parameters(), self._config, self._group, inputs))
        kept = self._found(entry)
        if kept is None:
            with entry.turn():
                kept = self._found(entry)
                if kept is None:
                    return self._compile(entry, run, inputs)
        return self._read(entry, kept, run, inputs)

    def _found(self, entry: Entry) -> Kept | None:
        try:
            return entry.read()
        except Damaged as error:
            entry.remove()
            report.emit(f"note: the compiled step in the cache is damaged: {error.message}")
            return None

    def _compile(self, entry: Entry, run: Run, inputs: tuple[Tensor, ...]) -> Run:
        began_s = time.perf_counter()
        with entry.work_folder() as folder, stage(folder, self._group.rank) as staged:
            try:
                digest = self._probed(run, inputs)
            except Exception as error:  # noqa: BLE001 without the cache it is raised again, or not
                report.emit(f"note: compiled again, without the cache: {first_line(error)}")
                return self._made()[1]
            took_s = time.perf_counter() - began_s
            if digest:
                with _noted():
                    entry.write(staged.kept(digest))
        report.emit(f"note: the step was compiled in {took_s:.1f} s")
        return run

    def _read(self, entry: Entry, kept: Kept, run: Run, inputs: tuple[Tensor, ...]) -> Run:
        began_s, problem = time.perf_counter(), ""
        with (
            entry.work_folder() as folder,
            stage(folder, self._group.rank, kept.files) as staged,
        ):
            try:
                if self._probed(run, inputs) != kept.probe:
                    problem = "it does not compute what it did when it was compiled"
            except Exception as error:  # noqa: BLE001 whatever MindSpore raises, compiling is right
                problem = first_line(error)
            was_read = staged.was_read
        took = f"in {time.perf_counter() - began_s:.1f} s"
        if problem:
            entry.remove()
            report.emit(f"note: the compiled step in the cache is not used: {problem}")
            return self._made()[1]
        report.emit(
            f"note: the compiled step was read from the cache {took}"
            if was_read
            else f"note: the step was compiled {took}: MindSpore did not take the one in the cache"
        )
        return run

    def _probed(self, run: Run, inputs: tuple[Tensor, ...]) -> str:
        return probe.digest(run, self._state, inputs, self._config.class_num)


@contextmanager
def _noted() -> Iterator[None]:
    """A cache that cannot be used is no fault: the step is compiled."""
    try:
        yield
    except (EffnetError, OSError) as error:
        what = error.message if isinstance(error, EffnetError) else str(error)
        report.emit(f"note: the compiled step is not kept for the next start: {what}")
