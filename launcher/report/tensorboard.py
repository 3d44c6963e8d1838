"""A run as TensorBoard's event files: a folder for each rank, and one for evaluations.

Each call adds what is new. Beside each event file is a note of how much is in it, so that an
export that was interrupted, or of a run that is on, continues.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from launcher.core.run import metrics
from launcher.core.run.metrics import FIELDS, METRIC_BYTES
from launcher.core.run.paths import RankPaths
from launcher.core.run.state import RunState
from launcher.core.text.codec import from_plain, to_plain
from launcher.errors import UsageError
from launcher.process.file_lock import try_lock
from launcher.reading.growing import mark, read_range
from launcher.reading.run import RunReader
from launcher.report import event_file
from launcher.store.atomic import write_file

REPORTS = (
    *("loss", "mean_loss", "step_time_ms", "wait_ms"),
    *("images_per_s", "learning_rate", "memory_bytes"),
)
"""Tags: the fields of `metrics.bin`, and those of the samples."""
EVALUATIONS = ("loss", "top_1_acc", "top_5_acc")
CHUNK = 1 << 14
"""Reports at a time: their rows fit a CPU's cache."""
NOTE_EVERY_S = 2.0
MAX_NOTE_BYTES = 1 << 16

_REPORT = np.dtype(
    {
        "names": list(FIELDS),
        "formats": [f"<{found.code}" for found in FIELDS.values()],
        "offsets": [found.offset for found in FIELDS.values()],
        "itemsize": METRIC_BYTES,
    }
)
_SAMPLE = {
    "device": (metrics.DEVICE_BYTES, ("device_use_percent",), 3),
    "load": (
        metrics.LOAD_BYTES,
        tuple(known.name for known in fields(metrics.LoadRecord) if known.name != "time_s"),
        1,
    ),
}
"""File of a rank -> bytes of a record, tags, and the record's first number that is one of them."""

OnProgress = Callable[[str, int, int], None]


@dataclass
class _Note:
    """What is in an event file. ``done``: bytes (of evaluations: entries) of each source that are
    in it; ``step``: the last one, by source."""

    every: int
    file_bytes: int = 0
    attempt: int = 0
    done: dict[str, int] = field(default_factory=dict)
    step: dict[str, int] = field(default_factory=dict)


class _Folder:
    """One event file, open to be continued."""

    def __init__(self, path: Path, every: int, time_s: float) -> None:
        path.mkdir(parents=True, exist_ok=True)
        file = path / f"events.out.tfevents.{int(time_s)}.effnet"
        self._note = path / "export.json"
        self._noted_s = time.monotonic()
        self._header = event_file.header(time_s)
        self.note = _Note(every)
        with contextlib.suppress(ValueError, RecursionError):
            self.note = from_plain(_Note, json.loads(read_range(self._note, 0, MAX_NOTE_BYTES)))
        if self.note.every != every:
            raise UsageError(
                f"{path} was written with --every {self.note.every}",
                f"Use --every {self.note.every}, or another --output.",
            )
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not try_lock(fd):
            os.close(fd)
            raise UsageError(
                f"another export writes {path}", "Wait for it, end it, or choose another --output."
            )
        self._open = os.fdopen(fd, "r+b")
        if file.stat().st_size < self.note.file_bytes:
            self.note = _Note(every)
        self._open.seek(self.note.file_bytes)
        self._open.truncate()

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        with self._open:
            self.save()

    def begin(self, attempt: int) -> None:
        """Of another attempt all sources are read from their beginning."""
        if attempt != self.note.attempt:
            self.note.attempt = attempt
            self.note.done.clear()

    def add(
        self,
        source: str,
        tags: tuple[str, ...],
        steps: NDArray[np.int64],
        times_s: NDArray[np.float64],
        values: NDArray[np.float64],
    ) -> None:
        """Where the steps of reports go back, they replace what was written before."""
        # An evaluation of an older checkpoint replaces nothing.
        before = np.concatenate(([self.note.step.get(source, -1)], steps[:-1]))
        back = (steps <= before) & (source == "reports")
        every = self.note.every
        kept = back | (steps // every != before // every) | (every == 1)
        for rows in np.split(np.arange(len(steps)), np.flatnonzero(back)):
            if len(rows) and back[rows[0]]:
                first = rows[0]
                self._write(event_file.restart(int(steps[first]), float(times_s[first])))
            rows = rows[kept[rows]]
            self._write(event_file.records(tags, steps[rows], times_s[rows], values[rows]))
        self.note.step[source] = int(steps[-1])

    def _write(self, data: bytes) -> None:
        data = data if self.note.file_bytes else self._header + data
        self._open.write(data)
        self.note.file_bytes += len(data)

    def save_sometimes(self) -> None:
        if time.monotonic() - self._noted_s > NOTE_EVERY_S:
            self.save()

    def save(self) -> None:
        """What is noted is in the file."""
        self._open.flush()
        write_file(self._note, json.dumps(to_plain(self.note)))
        self._noted_s = time.monotonic()


def write_event_files(reader: RunReader, folder: Path, every: int, on_progress: OnProgress) -> int:
    """Adds what is new to ``folder``. -> bytes of reports and samples that were added.

    Raises `UsageError`, `OSError`.
    """
    state = reader.poll_state()
    began_s = state.created_s or time.time()
    total = _size(reader, state)
    added = passed = 0

    def tell(before: int, done: int) -> None:
        on_progress(reader.run, before + done, total)

    ranks = max((attempt.world_size for attempt in state.attempts), default=0)
    for rank in range(ranks):
        with _Folder(folder / f"rank-{rank:04d}", every, began_s) as out:
            for attempt in state.attempts:
                if rank >= attempt.world_size:
                    continue
                paths = reader.paths.attempt(attempt.attempt).rank(rank)
                if attempt.attempt >= out.note.attempt:
                    out.begin(attempt.attempt)
                    added += _reports(out, paths, functools.partial(tell, passed))
                    added += _samples(out, paths)
                passed += sum(_bytes_of(paths).values())
    _evaluations(folder, every, began_s, state)
    tell(total, 0)
    return added


def _bytes_of(paths: RankPaths) -> dict[str, int]:
    found = {"reports": mark(paths.metrics), "device": mark(paths.device), "load": mark(paths.load)}
    return {name: 0 if known is None else known.size_bytes for name, known in found.items()}


def _size(reader: RunReader, state: RunState) -> int:
    return sum(
        sum(_bytes_of(reader.paths.attempt(attempt.attempt).rank(rank)).values())
        for attempt in state.attempts
        for rank in range(attempt.world_size)
    )


def _reports(out: _Folder, paths: RankPaths, on_done: Callable[[int], object]) -> int:
    size = _bytes_of(paths)["reports"]
    start = done = out.note.done.get("reports", 0)
    if size < done:
        start = done = 0  # the file was replaced; what follows replaces the old values
    while found := read_range(paths.metrics, done, min(size - done, CHUNK * METRIC_BYTES)):
        rows = np.frombuffer(found[: metrics.whole_bytes(len(found))], _REPORT)
        if not len(rows):
            break
        values = np.stack([_known(rows[name]) for name in REPORTS], axis=1)
        out.add("reports", REPORTS, rows["global_step"], rows["time_s"], values)
        done += rows.nbytes
        out.note.done["reports"] = done
        out.save_sometimes()
        on_done(done)
    return done - start


def _known(column: NDArray[np.generic]) -> NDArray[np.float64]:
    values = column.astype(np.float64)
    return np.where(values < 0, np.nan, values) if column.dtype.kind == "i" else values


def _samples(out: _Folder, paths: RankPaths) -> int:
    """Each sample is at the step of the report before it."""
    reports = out.note.done.get("reports", 0)
    if not reports:
        return 0
    added = 0
    axis: NDArray[np.void] | None = None
    for source, path in (("device", paths.device), ("load", paths.load)):
        record_bytes, tags, first = _SAMPLE[source]
        done = out.note.done.get(source, 0)
        size = _bytes_of(paths)[source]
        done = 0 if size < done else done
        found = read_range(path, done, metrics.whole_bytes(size - done, record_bytes))
        unpack = metrics.DEVICE if source == "device" else metrics.LOAD
        rows = np.array(
            list(unpack.iter_unpack(found[: metrics.whole_bytes(len(found), record_bytes)]))
        )
        if not len(rows):
            continue
        if axis is None:
            axis = np.frombuffer(read_range(paths.metrics, 0, reports), _REPORT)
        at = np.searchsorted(axis["time_s"], rows[:, 0], side="right") - 1
        steps = axis["global_step"][np.maximum(at, 0)]
        out.add(source, tags, steps, rows[:, 0], rows[:, first:])
        out.note.done[source] = done + len(rows) * record_bytes
        added += len(rows) * record_bytes
    return added


def _evaluations(folder: Path, every: int, began_s: float, state: RunState) -> None:
    """Of the run's own model, and of the averaged weights where those were evaluated."""
    for weights in sorted({item.weights or "model" for item in state.evals}):
        found = [
            (item.step, item.time_s, item.loss, item.top_1_acc, item.top_5_acc)
            for item in state.evals
            if (item.weights or "model") == weights and item.step is not None
        ]
        with _Folder(folder / f"evaluation-{weights}", 1, began_s) as out:
            new = found[out.note.done.get("evaluations", 0) :]
            if new:
                rows = np.array(new, np.float64)  # None becomes NaN
                out.add("evaluations", EVALUATIONS, rows[:, 0].astype(int), rows[:, 1], rows[:, 2:])
                out.note.done["evaluations"] = len(found)
