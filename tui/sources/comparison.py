"""Runs that are compared: read again while one of them lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from launcher import client
from launcher.core.history.compare import NAMES
from tui.charts.overlay import OverlayMaker
from tui.model.run import ChartRequest, ComparisonFrame

EVERY_S: Final = 5.0
TOP_1: Final = "top_1_acc"


class LiveComparison:
    """``clock`` gives seconds."""

    def __init__(
        self, readers: Sequence[client.RunReader], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._readers, self._clock = readers, clock
        self._found = client.compare(readers)
        self._found_s = clock()
        names = NAMES[: len(readers)]
        origins = [run.created_s or 0.0 for run in self._found.runs]
        self._charts = OverlayMaker(names, [_series(reader) for reader in readers], origins)

    def frame(self, request: ChartRequest) -> ComparisonFrame:
        is_living = any(run.is_living for run in self._found.runs)
        if is_living and self._clock() - self._found_s >= EVERY_S:
            self._found, self._found_s = client.compare(self._readers), self._clock()
        return ComparisonFrame(time.time(), self._found, self._charts.chart(request))


def _series(reader: client.RunReader) -> Callable[[str], client.Series]:
    """A field of rank 0, or the top-1 of the evaluations during training."""
    kept: dict[int, client.Series] = {}

    def series(field: str) -> client.Series:
        if field != TOP_1:
            return reader.series(0, field)
        rated = [
            entry
            for entry in reader.state.evals
            if entry.step is not None and entry.top_1_acc is not None and entry.job is None
        ]
        if len(rated) not in kept:
            kept.clear()
            by_step = {entry.step: entry for entry in rated}
            found = [by_step[step] for step in sorted(by_step, key=lambda step: step or 0)]
            kept[len(rated)] = client.Series(
                0,
                field,
                [entry.step or 0 for entry in found],
                [entry.top_1_acc or 0.0 for entry in found],
                [entry.time_s for entry in found],
            )
        return kept[len(rated)]

    return series
