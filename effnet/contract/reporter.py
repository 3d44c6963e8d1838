"""What a training script and its launcher tell each other. One file, standard library only.

The bundled trainer uses it. `effnet-launch reporter -o effnet_reporter.py` copies it beside a
script of your own:

    from effnet_reporter import Reporter

    with Reporter(epochs, steps_per_epoch) as reporter:
        for epoch in range(first_epoch, epochs):
            for step, batch in enumerate(batches):
                loss = train(batch)
                reporter.step(epoch, step, loss=loss, images=batch_size * reporter.world_size)
                if any_rank(reporter.stop_requested):
                    save(path)
                    reporter.checkpoint(path)
                    sys.exit()

Without a launcher it prints the same lines and does nothing else. Part of effnet-tui (Apache-2.0);
the formats are in its docs/report-format.md.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

RECORD_BYTES = 128
PHASES = ("init", "compile", "data", "compute", "reduce", "checkpoint", "eval", "export", "done")

STACKS_SIGNAL = signal.SIGRTMIN + 7
"""A real-time signal: schedulers of clusters send SIGUSR1 and SIGUSR2."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Heartbeat:
    """Rewrites one record in place at each change of phase; without a path it does nothing.

    A watcher that reads `RECORD_BYTES` from offset 0 sees one whole record, since one write of
    that size into a page is not torn.
    """

    def __init__(self, path: str | None) -> None:
        self.step = 0
        self.epoch = 0
        self._phase = "init"
        self._fd = None if not path else os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.phase("init")

    @classmethod
    def from_environment(cls) -> Heartbeat:
        """The launcher sets the path in `EFFNET_HEARTBEAT`."""
        return cls(os.environ.get("EFFNET_HEARTBEAT"))

    def phase(self, phase: str) -> None:
        """Record what begins now, beside the steps and epochs that are done."""
        self._phase = phase
        if self._fd is None:
            return
        record = f"1 {time.time():.6f} {phase} {self.step} {self.epoch} {os.getpid()}"
        os.pwrite(self._fd, record.ljust(RECORD_BYTES - 1).encode() + b"\n", 0)

    def done(self, step: int, epoch: int) -> None:
        """Count `step` global steps and `epoch` epochs as done."""
        self.step, self.epoch = step, epoch

    def close(self) -> None:
        """Record `done` and close the file."""
        if self._fd is not None:
            self.phase("done")
            os.close(self._fd)
            self._fd = None


class StopRequest:
    """Whether this rank has a stop request, and from where.

    The first signal is a request and restores the earlier handlers, so the second one ends the
    process. The launcher sets the file's path in `EFFNET_STOP_FILE`.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._signal: str | None = None
        self._before: dict[int, object] = {}

    @classmethod
    def from_environment(cls) -> StopRequest:
        return cls(os.environ.get("EFFNET_STOP_FILE"))

    def __enter__(self) -> StopRequest:
        for number in _STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python cannot be set again from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]
        self._before.clear()

    @property
    def reason(self) -> str | None:
        """`None`, a signal's name, or `stop file`."""
        if self._signal is not None:
            return self._signal
        if self._path is not None and os.path.exists(self._path):
            return "stop file"
        return None


def write_stacks_on_signal() -> None:
    """From now on `STACKS_SIGNAL` appends the stacks to the file that the launcher named.

    The handler is in C and needs no interpreter: it works while the main thread is in native code.
    """
    path = os.environ.get("EFFNET_STACKS")
    if not path:
        return
    with contextlib.suppress(OSError):
        # faulthandler writes to the descriptor, and keeps the file open.
        file = open(path, "ab", buffering=0)  # noqa: SIM115
        faulthandler.register(STACKS_SIGNAL, file, all_threads=True, chain=False)


@dataclass(frozen=True)
class Window:
    """Means over `steps` steps of `time_ms` in all; throughput is of all ranks.

    `mean_loss` is over the epoch so far.
    """

    steps: int
    loss: float
    mean_loss: float
    time_ms: float
    wait_ms: float | None
    images_per_s: float | None
    input_ms: float | None = None
    """What a step waits for its images, on average."""
    save_ms: float = 0.0
    """What checkpoints take of a step, on average."""
    done_s: float | None = None
    """When the last step was done, Unix seconds."""

    @property
    def step_time_ms(self) -> float:
        return self.time_ms / max(1, self.steps)


@dataclass(frozen=True)
class SavedCheckpoint:
    """One checkpoint on disk; `step` and `epoch` are done. An empty `sha256` is not known.

    `time_ms` is for how long training waited, `write_ms` how long the file took beside training.
    """

    path: Path
    step: int
    epoch: int
    bytes: int
    sha256: str
    time_ms: float
    write_ms: float | None = None


def step_line(
    epoch: int,
    epochs: int,
    step: int,
    steps_per_epoch: int,
    window: Window,
    lr: float | None,
    memory_bytes: int | None,
) -> str:
    """The steps of `window`, of which `step` is the last; `epoch` and `step` count from 0."""
    wide, wide_step = max(3, len(str(epochs))), max(5, len(str(steps_per_epoch)))
    parts = [
        f"epoch: [{epoch:{wide}d}/{epochs:{wide}d}]",
        f"step:[{step:{wide_step}d}/{steps_per_epoch:{wide_step}d}]",
        f"loss:[{window.loss:.5f}/{window.mean_loss:.5f}]",
        f"time:[{window.step_time_ms:.3f}]",
    ]
    if window.wait_ms is not None:
        parts.append(f"wait:[{window.wait_ms:.3f}]")
    if window.input_ms is not None:
        parts.append(f"input:[{window.input_ms:.3f}]")
    if window.save_ms:
        parts.append(f"save:[{window.save_ms:.3f}]")
    if window.images_per_s is not None:
        parts.append(f"images/s:[{window.images_per_s:.1f}]")
    if lr is not None:
        parts.append(f"lr:[{lr:.7f}]")
    if memory_bytes is not None:
        parts.append(f"memory:[{memory_bytes}]")
    if window.done_s is not None:
        parts.append(f"at:[{window.done_s:.6f}]")
    if window.steps > 1:
        parts.append(f"steps:[{window.steps}]")
    return ", ".join(parts)


def checkpoint_line(saved: SavedCheckpoint) -> str:
    digest = f" sha256:[{saved.sha256[:16]}]," if saved.sha256 else ""
    write = "" if saved.write_ms is None else f" write:[{saved.write_ms:.3f}],"
    return (
        f"checkpoint: epoch:[{saved.epoch}], step:[{saved.step}], bytes:[{saved.bytes}],"
        f" time:[{saved.time_ms:.3f}],{write}{digest} path:[{saved.path}]"
    )


def resume_line(epoch: int, step: int, path: str) -> str:
    return f"resume: epoch:[{epoch}], step:[{step}], path:[{path}]"


def stop_line(epoch: int, step: int, reason: str, state: str = "") -> str:
    """`state`: a digest of all that the rank has learned."""
    return f"stop: epoch:[{epoch}], step:[{step}], {_state(state)}reason:[{reason}]"


def done_line(epochs: int, steps: int, time_ms: float, state: str = "") -> str:
    """`state`: a digest of all that the rank has learned."""
    line = f"done: epochs:[{epochs}], steps:[{steps}], time:[{time_ms:.3f}], {_state(state)}"
    return line.rstrip(", ")


def _state(state: str) -> str:
    return f"state:[{state}], " if state else ""


def emit(line: str) -> None:
    """Print one line and flush it, because the rank may die next.

    With its end in one piece: `print` writes that by itself, and another thread's line could come
    between them.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Reporter:
    """One rank of a script: its steps, checkpoints and phases, and whether it is to stop.

    Used as a context manager around the training loop. `epoch` and `step` count from 0. `every`:
    print a line every so many steps. The last line says whether training is done or was stopped.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, *, every: int = 1) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.rank = _from_environment("RANK", "RANK_ID", "OMPI_COMM_WORLD_RANK") or 0
        self.world_size = _from_environment("WORLD_SIZE", "RANK_SIZE", "OMPI_COMM_WORLD_SIZE") or 1
        self.resume_from = os.environ.get("EFFNET_RESUME") or None
        """The checkpoint to continue from, if any."""
        self._every = every
        self._heartbeat = Heartbeat.from_environment()
        self._stop = StopRequest.from_environment()
        self._began_s = self._line_s = self._saved_s = time.perf_counter()
        self._epoch_losses: tuple[int, float, int] = (-1, 0.0, 0)
        self._steps, self._loss, self._images = 0, 0.0, 0

    def __enter__(self) -> Reporter:
        write_stacks_on_signal()
        if threading.current_thread() is threading.main_thread():
            self._stop.__enter__()
        emit(
            f"start: rank:[{self.rank}/{self.world_size}], epochs:[{self.epochs}],"
            f" steps per epoch:[{self.steps_per_epoch}]"
        )
        self._began_s = self._line_s = time.perf_counter()
        self._heartbeat.phase("compute")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        heartbeat, reason = self._heartbeat, self._stop.reason
        if kind is None or kind is SystemExit:
            if reason is not None:
                emit(stop_line(heartbeat.epoch, heartbeat.step, reason))
            elif kind is None:
                took_ms = (time.perf_counter() - self._began_s) * 1e3
                emit(done_line(heartbeat.epoch, heartbeat.step, took_ms))
            heartbeat.close()
        self._stop.__exit__()

    @property
    def stop_requested(self) -> bool:
        """Whether this rank is to save and exit. Ranks see it at different steps: share it."""
        return self._stop.reason is not None

    def phase(self, phase: str) -> None:
        """What begins now, one of `PHASES`; `step` returns to `compute`."""
        if phase not in PHASES:
            raise ValueError(f"{phase!r} is not one of {', '.join(PHASES)}")
        self._heartbeat.phase(phase)

    def step(
        self,
        epoch: int,
        step: int,
        *,
        loss: float,
        images: int | None = None,
        lr: float | None = None,
    ) -> None:
        """One step is done; `images` of it are those of all ranks."""
        done = epoch * self.steps_per_epoch + step + 1
        self._heartbeat.done(done, done // self.steps_per_epoch)
        self._heartbeat.phase("compute")
        known, total, count = self._epoch_losses
        total, count = (total + loss, count + 1) if known == epoch else (loss, 1)
        self._epoch_losses = epoch, total, count
        self._steps, self._loss = self._steps + 1, self._loss + loss
        self._images += images or 0
        if self._steps < self._every and step + 1 < self.steps_per_epoch:
            return
        now_s = time.perf_counter()
        took_s = now_s - self._line_s
        window = Window(
            steps=self._steps,
            loss=self._loss / self._steps,
            mean_loss=total / count,
            time_ms=took_s * 1e3,
            wait_ms=None,
            images_per_s=self._images / took_s if self._images and took_s else None,
            done_s=time.time(),
        )
        emit(step_line(epoch, self.epochs, step, self.steps_per_epoch, window, lr, None))
        self._line_s = now_s
        self._steps, self._loss, self._images = 0, 0.0, 0

    def resumed(self, epoch: int, step: int) -> None:
        """The state of `resume_from` is loaded; `epoch` and `step` are done, `step` in all."""
        self._heartbeat.done(step, epoch)
        emit(resume_line(epoch, step, self.resume_from or ""))

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """A checkpoint of what is done is complete on disk. For the rank that wrote it."""
        path = Path(path).absolute()
        size = path.stat().st_size
        emit(
            checkpoint_line(
                SavedCheckpoint(path, self._heartbeat.step, self._heartbeat.epoch, size, "", 0.0)
            )
        )


def _from_environment(*names: str) -> int | None:
    values = (os.environ.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdigit()), None)
