"""How long it takes to attach to a recorded run of 65 hours: 8 ranks, 220,000 steps each.

    python benchmarks/attach.py [--ranks 8] [--steps 220000] [--log-mb 64]
    python benchmarks/attach.py --ranks 1024 --steps 600 --log-mb 1

Makes the run itself, in a temporary folder, then reads it as the dashboard does when it opens:
the snapshot, the loss of all ranks, the end of a log; and after that one more poll, a step later.
Each line is the best of three. The goal is 2 s for all that an opening reads.

`frame` is all that the dashboard's thread reads and works out for the run screen with its charts
and the strip, without drawing, in CPU time: the first one, one when nothing is new, and one after a
new step of all ranks. Memory is what this process has more after them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from rows import head, row

from launcher.client import open_run
from launcher.core.run import events, metrics
from launcher.core.run.info import RunInfo
from launcher.core.run.metrics import DeviceRecord
from launcher.core.run.paths import RunPaths
from launcher.core.run.report_types import StepReport
from tui.model.run import ChartRequest, FrameRequest
from tui.sources.live import CHARTS_EVERY_S, LiveRun

STEPS_PER_EPOCH = 625
GOAL_S = 2.0
CHARTED = ("loss", "step_time_ms", "images_per_s", "memory_bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=220_000)
    parser.add_argument("--log-mb", type=int, default=64, help="size of rank 0's log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attach-") as folder:
        root = Path(folder) / "recorded"
        make_run(root, options.ranks, options.steps, options.log_mb)
        frames, grown_mib = measure_frames(root, options.ranks)
        found = measure(root, options.ranks)
    opening_s = sum(found[name] for name in OPENING)
    head(f"{options.ranks:,} ranks with {options.steps:,} reports each", "")
    for name, seconds in found.items():
        row(name, f"{seconds * 1000:,.1f} ms")
    row(f"all that an opening reads (goal: {GOAL_S:g} s)", f"{opening_s * 1000:,.1f} ms")
    for name, seconds in frames.items():
        row(name, f"{seconds * 1000:,.1f} ms of CPU")
    row("memory of the frames", f"{grown_mib:.1f} MiB")


OPENING = ("attach: first snapshot", "loss of all ranks", "end of the log, 200 lines")


def measure(root: Path, ranks: int) -> dict[str, float]:
    """Seconds, by what was read."""
    found: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], object]) -> None:
        found.setdefault(name, []).append(timed(work))

    for _ in range(3):
        reader = open_run(root)
        note(OPENING[0], reader.poll)
        note(OPENING[1], lambda reader=reader: [reader.series(r, "loss") for r in range(ranks)])
        log = reader.log(0)
        note(OPENING[2], lambda log=log: log.tail(200))
        note("poll, nothing new", reader.poll)
        note("loss of all ranks, nothing new", lambda reader=reader: series(reader, ranks))
        append(root, ranks)
        note("poll, one report a rank", reader.poll)
        note("loss of all ranks, one report a rank", lambda reader=reader: series(reader, ranks))
        note("index of the whole log", lambda log=log: log.refresh(1 << 40))
        note("search of the whole log", lambda log=log: log.search("nowhere", budget_bytes=1 << 40))
    return {name: min(values) for name, values in found.items()}


def measure_frames(root: Path, ranks: int) -> tuple[dict[str, float], float]:
    """CPU seconds by frame, the median of five where there are more, and MiB of memory."""
    charts = tuple(ChartRequest(field, 70, 0.6) for field in CHARTED)
    request = FrameRequest(charts, skew_bins=60)
    before = psutil.Process().memory_info().rss
    now_s = [time.time()]
    run = LiveRun(open_run(root), lambda: now_s[0])

    def frame_s() -> float:
        now_s[0] += CHARTS_EVERY_S  # each frame with its charts
        began = time.process_time()
        run.frame(request)
        return time.process_time() - began

    found = {"frame, the first": frame_s()}
    found["frame, nothing new"] = statistics.median(frame_s() for _ in range(5))
    after_step = []
    for _ in range(5):
        append(root, ranks)
        after_step.append(frame_s())
    found["frame, one report a rank"] = statistics.median(after_step)
    return found, (psutil.Process().memory_info().rss - before) / 2**20


def series(reader: object, ranks: int) -> list[object]:
    return [reader.series(rank, "loss") for rank in range(ranks)]  # type: ignore[attr-defined]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def append(root: Path, ranks: int) -> None:
    for rank in range(ranks):
        path = RunPaths(root).attempt(1).rank(rank).metrics
        step = path.stat().st_size // metrics.METRIC_BYTES
        with path.open("ab") as file:
            file.write(record(step))


def record(step: int) -> bytes:
    report = StepReport(
        epoch=step // STEPS_PER_EPOCH,
        step=step % STEPS_PER_EPOCH,
        epochs=350,
        steps_per_epoch=STEPS_PER_EPOCH,
        loss=7.0 - step / 50_000,
        mean_loss=7.0,
        step_time_ms=1063.0,
        wait_ms=40.0,
        images_per_s=1926.0,
        learning_rate=0.1,
        memory_bytes=1 << 34,
    )
    return metrics.pack(report, 1_700_000_000 + step * 1.063, step * 150)


def make_run(root: Path, ranks: int, steps: int, log_mb: int) -> None:
    """A finished run with events, metrics, device samples and one long log."""
    paths = RunPaths(root)
    paths.root.mkdir(parents=True)
    paths.run.write_text(RunInfo(root.name, "ascend-1x8", 1_700_000_000.0, ranks).to_json())
    data = b"".join(map(record, range(steps)))
    samples = metrics.pack_device(DeviceRecord(1.0, 1 << 34, 1 << 36, 90.0)) * (steps // 2)
    for rank in range(ranks):
        files = paths.attempt(1).rank(rank)
        files.root.mkdir(parents=True)
        files.metrics.write_bytes(data)
        files.device.write_bytes(samples)
    line = b"epoch: [  0/350], step:[    0/  625], loss:[7.041/7.041], time:[1063.5], lr:[0.1]\n"
    paths.attempt(1).rank(0).log.write_bytes(line * (log_mb * 1024 * 1024 // len(line)))
    write_events(paths, ranks, steps)


def write_events(paths: RunPaths, ranks: int, steps: int) -> None:
    t = 1_700_000_000.0
    found: list[events.Event] = [
        events.RunCreated(paths.root.name, "ascend-1x8", ranks, n=1, t=t),
        events.AttemptStarted(1, ranks, n=2, t=t),
    ]
    for rank in range(ranks):
        found.append(
            events.RankStarted(1, rank, "far", rank, rank, 1000 + rank, n=len(found) + 1, t=t)
        )
    found.append(events.TrainingStarted(1, 350, STEPS_PER_EPOCH, n=len(found) + 1, t=t))
    for epoch in range(1, steps // STEPS_PER_EPOCH + 1):
        number, step = len(found) + 1, epoch * STEPS_PER_EPOCH
        t += 664.0
        path = str(paths.checkpoint / f"step-{step:08d}.ckpt")
        found.append(events.EpochFinished(1, epoch, 4.0, n=number, t=t))
        found.append(
            events.CheckpointWritten(1, epoch, step, path, 1 << 27, "ab", n=number + 1, t=t)
        )
        found.append(
            events.EvalFinished(1, None, epoch, step, 2.0, 0.7, 0.9, 50000, n=number + 2, t=t)
        )
    found.append(events.AttemptFinished(1, steps, n=len(found) + 1, t=t))
    paths.events.write_text("".join(events.to_json(event) + "\n" for event in found))


if __name__ == "__main__":
    main()
