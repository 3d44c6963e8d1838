"""What the files of an attempt's ranks say about why one is late. Only their ends are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launcher.core.diagnosis.lateness import LateRank, RankTimes, late_ranks
from launcher.core.plan.logical import carried_by
from launcher.core.run import metrics
from launcher.core.run.metrics import LOAD_BYTES, METRIC_BYTES
from launcher.core.run.paths import RankPaths
from launcher.reading.growing import mark, read_range
from launcher.reading.rank_files import RECENT
from launcher.reading.run import RunReader

SAMPLES = 128
"""With one every 2 s some minutes: as long as the reports of slow steps are compared."""


def late_ranks_of(reader: RunReader, attempt: int | None = None) -> tuple[LateRank, ...]:
    """The late ranks of an attempt (the newest) whose cause is known; after a `poll`."""
    known = {state.attempt: state for state in reader.state.attempts}
    shown = known.get(attempt or 0, reader.state.attempt)
    if shown is None or shown.world_size < 2:
        return ()
    folder = reader.paths.attempt(shown.attempt)
    states = {rank: shown.rank(rank) for rank in range(shown.world_size)}
    size, carried = shown.world_size, shown.logical_size or shown.world_size
    return late_ranks(
        [
            replace(
                times_of(folder.rank(rank), rank, None if state is None else state.node),
                carried=len(carried_by(rank, size, carried)),
            )
            for rank, state in states.items()
        ]
    )


def times_of(paths: RankPaths, rank: int, node: str | None) -> RankTimes:
    """The newest records of a rank."""
    reports = metrics.unpack(_end_of(paths.metrics, RECENT, METRIC_BYTES))
    loads = metrics.unpack_loads(_end_of(paths.load, SAMPLES, LOAD_BYTES))
    return RankTimes(rank, node, reports, loads)


def _end_of(path: Path, records: int, record_bytes: int) -> bytes:
    size = mark(path)
    if size is None:
        return b""
    return read_range(path, *metrics.window(size.size_bytes, records, record_bytes))
