"""Writes a run directory as a supervisor and its ranks would, a step at a time."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from launcher.client import find_profile
from launcher.core.run import events
from launcher.core.run.info import RunInfo
from launcher.core.run.metrics import DeviceRecord, pack, pack_device
from launcher.core.run.paths import RunPaths
from launcher.core.run.report_types import StepReport

STEPS = 45
EPOCHS = 20


class MadeRun:
    """A run of ``ranks`` ranks on ``nodes`` nodes; ``late`` is the rank that keeps others waiting.

    Its ranks have the process id of the caller, so that it counts as living while that is there.
    """

    def __init__(
        self, folder: Path, name: str, ranks: int = 2, nodes: int = 1, late: int | None = None,
        time_s: float = 1_766_500_000.0, pid: int | None = None, late_ms: float = 230.0,
    ) -> None:  # fmt: skip
        self.paths = RunPaths(folder / name)
        self.name, self.ranks, self.nodes, self.late = name, ranks, nodes, late
        self.late_ms = late_ms
        self.time_s, self.pid = time_s, os.getpid() if pid is None else pid
        self.attempt = 0
        self.step = 0
        self._n = 0
        self.paths.root.mkdir(parents=True)
        info = RunInfo(name, "made", time_s, ranks, {}, ("effnet-launch", "start", "made"))
        self.paths.run.write_text(info.to_json())
        self.paths.profile.write_text(find_profile("local-cpu").to_json())
        self.event(events.RunCreated(name, "made", ranks))

    def event(self, event: events.Event) -> None:
        """Append an event under the next number, at the run's time."""
        self._n += 1
        object.__setattr__(event, "n", self._n)
        object.__setattr__(event, "t", self.time_s)
        with self.paths.events.open("a") as file:
            file.write(events.to_json(event) + "\n")

    def node(self, rank: int) -> str:
        """One node is this machine; more than one are remote."""
        return (
            "localhost"
            if self.nodes == 1
            else f"node-{'abcdefgh'[rank * self.nodes // self.ranks]}"
        )

    def start(self, resume: events.StartCheckpoint | None = None) -> None:
        """A new attempt, with its ranks started and training."""
        self.attempt += 1
        if resume is not None:
            self.step = resume.step
        self.event(events.AttemptStarted(self.attempt, self.ranks, resume))
        for rank in range(self.ranks):
            self.paths.attempt(self.attempt).rank(rank).root.mkdir(parents=True)
            self.event(
                events.RankStarted(self.attempt, rank, self.node(rank), rank, rank, self.pid, None)
            )
            self.log(rank, f"start: rank:[{rank}/{self.ranks}], target:[CPU], variant:[b2]")
        self.event(events.TrainingStarted(self.attempt, EPOCHS, STEPS))

    def log(self, rank: int, line: str) -> int:
        """Append a line; its offset."""
        path = self.paths.attempt(self.attempt).rank(rank).log
        with path.open("ab") as file:
            offset = file.tell()
            file.write(line.encode() + b"\n")
        os.utime(path, (self.time_s, self.time_s))
        return offset

    def steps(self, count: int, seconds: float = 1.0) -> None:
        """Every rank reports ``count`` steps more."""
        for _ in range(count):
            self.time_s += seconds
            epoch, step = divmod(self.step, STEPS)
            for rank in range(self.ranks):
                late = rank == self.late and self.step % 60 > 20
                wait = (
                    2.0 if late else 12.0 + rank + (self.late_ms if self.late is not None else 0.0)
                )
                loss = 2.3 * math.exp(-self.step / 250) + 0.05 * math.sin(self.step * 1.7)
                text = (
                    f"epoch: [{epoch:3}/{EPOCHS:3}], step:[{step:5}/{STEPS:5}], "
                    f"loss:[{loss:.5f}/{loss + 0.1:.5f}], time:[941.315], wait:[{wait:.3f}], "
                    f"images/s:[34.0], lr:[0.0100000], memory:[{(1200 + rank) << 20}]"
                )
                offset = self.log(rank, text)
                report = StepReport(
                    epoch=epoch, step=step, steps_per_epoch=STEPS, epochs=EPOCHS, loss=loss,
                    mean_loss=loss + 0.1, step_time_ms=941.3, wait_ms=wait, images_per_s=34.0,
                    learning_rate=0.01, memory_bytes=(1200 + rank) << 20,
                )  # fmt: skip
                paths = self.paths.attempt(self.attempt).rank(rank)
                with paths.metrics.open("ab") as file:
                    file.write(pack(report, self.time_s, offset))
                with paths.device.open("ab") as file:
                    used = (1200 + rank + self.step % 9) << 20
                    file.write(pack_device(DeviceRecord(self.time_s, used, 4 << 30, 50.0)))
                beat = f"1 {self.time_s:.6f} compute {self.step + 1} {epoch} {self.pid}"
                paths.heartbeat.write_text(f"{beat:<127}\n")
            self.step += 1
            if self.step % STEPS == 0:
                self.checkpoint()
                self.event(events.EpochFinished(self.attempt, self.step // STEPS, 1.5))
                self.event(
                    events.EvalFinished(
                        self.attempt, None, self.step // STEPS, self.step, 1.2,
                        0.5 + self.step / 2000, 0.9, 360, "ema",
                    )
                )  # fmt: skip

    def checkpoint(self) -> None:
        """A small file that says it is a checkpoint, and its manifest."""
        import hashlib

        data = f"weights at {self.step}".encode() * 100
        self.paths.checkpoint.mkdir(exist_ok=True)
        path = self.paths.checkpoint / f"step-{self.step:08d}.ckpt"
        path.write_bytes(data)
        sha = hashlib.sha256(data).hexdigest()
        manifest = {
            "sha256": sha, "bytes": len(data), "epoch": self.step // STEPS, "step": self.step,
            "steps_per_epoch": STEPS, "world_size": self.ranks, "created_s": self.time_s,
        }  # fmt: skip
        path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
        self.event(
            events.CheckpointWritten(
                self.attempt, self.step // STEPS, self.step, str(path), len(data), sha
            )
        )

    def fail(self, rank: int) -> None:
        """The rank is killed, the others follow."""
        offset = self.log(rank, "Traceback (most recent call last):")
        self.log(rank, "MemoryError: Unable to allocate 3.00 GiB")
        self.time_s += 1
        self.event(events.RankExited(self.attempt, rank, self.node(rank), None, 9))
        others = [other for other in range(self.ranks) if other != rank]
        for other in others:
            self.event(events.RankExited(self.attempt, other, self.node(other), None, 15))
        failure = events.Failure(
            events.FailureKind.OOM, "the kernel killed it: the node ran out of memory",
            "a smaller batch, or fewer loader workers", rank, self.node(rank), None, 9, self.time_s,
            ("MemoryError: Unable to allocate 3.00 GiB",), (), None, offset, tuple(others),
        )  # fmt: skip
        self.event(events.AttemptFailed(self.attempt, failure))

    def finish(self) -> None:
        """All ranks end well."""
        for rank in range(self.ranks):
            self.event(events.RankExited(self.attempt, rank, self.node(rank), 0, None))
        self.event(events.AttemptFinished(self.attempt, self.step))
