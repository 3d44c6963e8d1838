"""A run's figures for Prometheus. Needs the extra `metrics`.

Names follow its conventions: base units in the name, `_total` for counters, shares from 0 to 1. An
unknown value has no sample. States are gauges of 0 and 1, not state sets, since the text file
collector of node_exporter does not know those.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest

from launcher.core.diagnosis.goodput import CLASSES
from launcher.core.run.state import RunStatus
from launcher.errors import LaunchError, UsageError
from launcher.reading.growing import read_range
from launcher.reading.run import RunReader
from launcher.reading.snapshot import RankSnapshot, RankStatus, RunSnapshot
from launcher.store.atomic import write_file

HOST = "127.0.0.1"
_BEGINNING = b"# HELP effnet_"


class _Figure(NamedTuple):
    """A metric without `effnet_run_` or `effnet_rank_`; `value` gets the snapshot."""

    name: str
    help: str
    value: Callable[[Any], float | None]
    factor: float = 1.0


_PERCENT = 0.01
_MS = 0.001
_OF_RUN = (
    _Figure("attempts_total", "Attempts so far", lambda run: len(run.state.attempts)),
    _Figure(
        "failures_total",
        "Attempts that failed",
        lambda run: sum(attempt.failure is not None for attempt in run.state.attempts),
    ),
    _Figure("checkpoints_total", "Checkpoints written", lambda run: len(run.state.checkpoints)),
    _Figure("evaluations_total", "Evaluations finished", lambda run: len(run.state.evals)),
    _Figure("ranks", "Ranks of the run", lambda run: run.world_size),
    _Figure("epoch", "Epoch that is trained, from 0", lambda run: run.epoch),
    _Figure("steps_done", "Steps done, over all epochs", lambda run: run.steps_done),
    _Figure("steps_planned", "Steps of all epochs", lambda run: run.steps_total),
    _Figure("progress_ratio", "Steps done of those planned", lambda run: run.progress),
    _Figure("eta_seconds", "Time to the end, as estimated", lambda run: run.eta_s),
    _Figure("loss", "Loss of the newest step, rank 0", lambda run: run.loss),
    _Figure("mean_loss", "Mean loss of the epoch so far, rank 0", lambda run: run.mean_loss),
    _Figure("step_seconds", "Time of the newest step, rank 0", lambda run: run.step_time_ms, _MS),
    _Figure("wait_seconds", "Of it, waiting for peers", lambda run: run.wait_ms, _MS),
    _Figure("images_per_second", "Images per second, all ranks", lambda run: run.images_per_s),
    _Figure("learning_rate", "Learning rate", lambda run: run.learning_rate),
    _Figure("step_age_seconds", "Since the newest step of any rank", lambda run: run.age_s),
    _Figure(
        "last_step_timestamp_seconds", "When the newest step was reported", lambda run: run.step_s
    ),
    _Figure("duration_seconds", "Time of all attempts", lambda run: run.duration_s),
    _Figure(
        "best_top_1_accuracy_ratio", "Best top-1 of all evaluations", lambda run: run.best_top_1
    ),
    _Figure("unreachable_nodes", "Nodes that do not answer", lambda run: len(run.unreachable)),
)
_OF_RANK = (
    _Figure("steps_done", "Steps done, over all epochs", lambda rank: rank.steps_done),
    _Figure("loss", "Loss of the newest step", lambda rank: rank.loss),
    _Figure("step_seconds", "Time of the newest step", lambda rank: rank.step_time_ms, _MS),
    _Figure("wait_seconds", "Of it, waiting for peers", lambda rank: rank.wait_ms, _MS),
    _Figure(
        "lateness_seconds", "Own work longer than the median rank's", lambda r: r.lateness_ms, _MS
    ),
    _Figure("images_per_second", "Images per second of this rank", lambda r: r.images_per_s),
    _Figure("memory_bytes", "Memory of the device, or of the process", lambda r: r.memory_bytes),
    _Figure("memory_limit_bytes", "What it may use", lambda rank: rank.memory_limit_bytes),
    _Figure("device_use_ratio", "Use of the device", lambda r: r.device_use_percent, _PERCENT),
    _Figure("device_power_watts", "Power of the device", lambda rank: rank.power_w),
    _Figure("device_temperature_celsius", "Its temperature", lambda rank: rank.temperature_c),
    _Figure("device_clock_hertz", "Its clock", lambda rank: rank.clock_mhz, 1e6),
    _Figure("cpu_cores", "CPU time of the process per second", lambda r: r.cpu_percent, _PERCENT),
    _Figure(
        "io_wait_ratio",
        "CPU time of its node that waits for disks",
        lambda r: r.io_wait_percent,
        _PERCENT,
    ),
    _Figure("last_step_timestamp_seconds", "When its newest step was reported", lambda r: r.step_s),
)


class RunMetrics:
    """A collector of prometheus-client: each scrape polls the run."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()  # a reader serves one scrape at a time
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """The registry need not poll to learn the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            run = self._reader.poll()
            goodput = self._reader.goodput()
        labels = {"run": run.run}
        yield _states("run", RunStatus, [(labels, run)])
        yield from _metrics("run", _OF_RUN, [(labels, run)])
        time_of = GaugeMetricFamily(
            "effnet_run_time_seconds", "Where its time went", labels=("run", "class")
        )
        for name in CLASSES:
            time_of.add_metric((run.run, name.removesuffix("_s")), getattr(goodput, name))
        yield time_of
        share = _Figure(
            "goodput_ratio", "Time that computed steps that count", lambda _: goodput.share
        )
        yield from _metrics("run", (share,), [(labels, run)])
        ranks = [({**labels, "rank": str(r.rank), "node": r.node or ""}, r) for r in run.ranks]
        yield _states("rank", RankStatus, ranks)
        yield from _metrics("rank", _OF_RANK, ranks)

    def text(self) -> str:
        """OpenMetrics."""
        return str(generate_latest(self.registry), "utf-8")

    def write(self, path: Path) -> None:
        """Replaces a file of metrics. Raises `UsageError` for another file, `LaunchError`."""
        text = self.text()
        if path.exists() and not read_range(path, 0, len(_BEGINNING)).startswith(_BEGINNING):
            raise UsageError(
                f"{path} exists and has no metrics of a run", "Choose another --output."
            )
        try:
            write_file(path, text, mode=0o644)  # another user's program collects it
        except OSError as error:
            raise LaunchError(f"{path} cannot be written: {error}") from error

    def serve(self, port: int) -> int:
        """Answers on loopback until the process ends. -> the port. Raises `LaunchError`."""
        try:
            server, _ = start_http_server(port, addr=HOST, registry=self.registry)
        except OSError as error:
            raise LaunchError(
                f"port {port} cannot be used: {error.strerror}", "Choose another --port; 0: any."
            ) from error
        return int(server.server_port)


Samples = Sequence[tuple[Mapping[str, str], RunSnapshot | RankSnapshot]]
"""Labels and the snapshot that the values are of."""


def _states(what: str, states: type[Enum], samples: Samples) -> Metric:
    labels = [*_labels(samples), "state"]
    found = GaugeMetricFamily(f"effnet_{what}_state", "1: it is in this state", labels=labels)
    for known, snapshot in samples:
        for state in states:
            found.add_metric([*known.values(), state.value], float(snapshot.status is state))
    return found


def _metrics(what: str, figures: Iterable[_Figure], samples: Samples) -> Iterable[Metric]:
    for figure in figures:
        name = f"effnet_{what}_{figure.name}"
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        found = kind(name, figure.help, labels=_labels(samples))
        for known, snapshot in samples:
            value = figure.value(snapshot)
            if value is not None:
                found.add_metric(list(known.values()), value * figure.factor)
        yield found


def _labels(samples: Samples) -> list[str]:
    return list(samples[0][0]) if samples else []
