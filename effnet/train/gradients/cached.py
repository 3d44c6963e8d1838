"""A function of a cell as one graph; its first call compiles, or reads what was compiled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mindspore import Tensor, nn

from effnet.config import TrainConfig
from effnet.contract import report
from effnet.distributed.group import Group
from effnet.errors import EffnetError, first_line
from effnet.train.gradients.entry import Damaged, Entry, Kept
from effnet.train.gradients.key import key
from effnet.train.gradients.stage import is_free, may_read, place, stage

Run = Callable[..., Any]
Make = Callable[[], tuple[nn.Cell, Run]]
"""A new cell, and its method as one graph: see `stage`."""


@dataclass(frozen=True)
class Cached:
    """`what` it is called in notes. `probe`: the digest of what a graph makes of known numbers."""

    what: str
    config: TrainConfig
    group: Group
    probe: Callable[[Run, Sequence[Tensor]], str]

    def first(self, make: Make, inputs: Sequence[Tensor]) -> Run:
        """What `make` makes, compiled or read."""
        config = self.config
        if not config.compile_cache or config.device_target != "CPU" or not is_free():
            return make()[1]
        with self._noted():
            return self._from_cache(make, inputs)
        return make()[1]

    def _from_cache(self, make: Make, inputs: Sequence[Tensor]) -> Run:
        cell, run = make()
        entry = Entry(key(self.what, cell.get_parameters(), self.config, self.group, inputs))
        kept = self._found(entry)
        if not may_read():
            return self._compile(entry, make, run, inputs) if kept is None else run
        if kept is None:
            with entry.turn():
                kept = self._found(entry)
                if kept is None:
                    return self._compile(entry, make, run, inputs)
        return self._read(entry, kept, make, run, inputs)

    def _found(self, entry: Entry) -> Kept | None:
        try:
            return entry.read()
        except Damaged as error:
            entry.remove()
            self._note(f"the compiled {self.what} in the cache is damaged: {error.message}")
            return None

    def _compile(self, entry: Entry, make: Make, run: Run, inputs: Sequence[Tensor]) -> Run:
        began_s = time.perf_counter()
        with (
            entry.work_folder(place()) as folder,
            stage(folder, self.group.rank) as staged,
        ):
            try:
                digest = self.probe(run, inputs)
            except Exception as error:  # noqa: BLE001 without the cache it is raised again, or not
                staged.give_up()
                self._note(f"compiled again, without the cache: {first_line(error)}")
                return make()[1]
            took_s = time.perf_counter() - began_s
            if digest and staged.has_graph:
                with self._noted():
                    entry.write(Kept(staged.files(), digest))
        self._note(f"the {self.what} was compiled in {took_s:.1f} s")
        return run

    def _read(
        self, entry: Entry, kept: Kept, make: Make, run: Run, inputs: Sequence[Tensor]
    ) -> Run:
        began_s, problem = time.perf_counter(), ""
        with (
            entry.work_folder(place()) as folder,
            stage(folder, self.group.rank, kept.files) as staged,
        ):
            try:
                if self.probe(run, inputs) != kept.probe:
                    problem = "it does not compute what it did when it was compiled"
            except Exception as error:  # noqa: BLE001 whatever MindSpore raises, compiling is right
                staged.give_up()
                problem = first_line(error)
            was_read = staged.was_read
        took = f"in {time.perf_counter() - began_s:.1f} s"
        if problem:
            entry.remove()
            self._note(f"the compiled {self.what} in the cache is not used: {problem}")
            return make()[1]
        self._note(
            f"the compiled {self.what} was read from the cache {took}"
            if was_read
            else f"the {self.what} was compiled {took}: MindSpore did not take the one in the cache"
        )
        return run

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """A cache that cannot be used is no fault: it is compiled."""
        try:
            yield
        except (EffnetError, OSError) as error:
            why = error.message if isinstance(error, EffnetError) else str(error)
            self._note(f"the compiled {self.what} is not kept for the next start: {why}")

    def _note(self, text: str) -> None:
        report.emit(f"note: {text}")
