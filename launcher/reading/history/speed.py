"""How fast a run was, from its events and the step reports of its ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from launcher.core.diagnosis.words import cause
from launcher.core.history.compare import Speed
from launcher.reading.run import RunReader
from launcher.reading.snapshot import RunSnapshot

MOST_RANKS = 64
"""Ranks of which the waits are read; of more, as many at equal distances."""


def speed_of(reader: RunReader, snapshot: RunSnapshot, batch_size: object) -> Speed:
    """``batch_size`` is one rank's, where it is known."""
    busy, waits, ranks = {}, [], snapshot.world_size
    for rank in range(0, ranks, max(1, -(-ranks // MOST_RANKS))):
        own = _median(reader.series(rank, "busy_ms").values)
        wait = _median(reader.series(rank, "wait_ms").values)
        if own is not None:
            busy[rank] = own
        if wait is not None:
            waits.append(wait)
    attempts = snapshot.state.attempts
    return Speed(
        goodput=reader.goodput(),
        images_per_s=_median(reader.series(0, "images_per_s").values),
        step_ms=_median(reader.series(0, "step_time_ms").values),
        busy_ms=_median(list(busy.values())),
        wait_ms=_median(waits),
        slowest_rank=max(busy, key=lambda rank: busy[rank]) if len(busy) > 1 else None,
        images_per_step=batch_size * ranks if type(batch_size) is int else None,
        attempts=len(attempts),
        failures=tuple(cause(item.failure) for item in attempts if item.failure is not None),
    )


def _median(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return median(known) if known else None
