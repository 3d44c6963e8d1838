"""The logs of a node's ranks while they grow: their reports become metrics and facts."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.agent.deaths import LAST_LINES
from launcher.core.diagnosis.hang import LEARN_FROM
from launcher.core.messages import Trouble
from launcher.core.plan.model import Plan
from launcher.core.run import events, metrics, script_lines
from launcher.core.run.events import CheckpointWritten, Event
from launcher.core.run.paths import AttemptPaths, RankPaths
from launcher.core.run.report import parse
from launcher.core.run.report_types import (
    CheckpointSaved,
    Done,
    EpochReport,
    EvalReport,
    EvalResult,
    Fault,
    Report,
    Resumed,
    StepReport,
    Stopped,
    TrainingHeader,
)
from launcher.core.run.script_lines import StepFiller, Throughput
from launcher.reading.log import LAST_BYTES, LogReader
from launcher.store.record_file import RecordFile
from launcher.store.tail import READ_BYTES, Tail

BEFORE_LAST_REPORT = 8
MAX_NEW_STEPS = 4096
READ_BYTES_A_TURN = 4 << 20


class LineReader:
    """What the lines of one rank report: the trainer's lines, or those of any script."""

    def __init__(self, plan: Plan | None) -> None:
        self._filler: StepFiller | None = None
        self._pattern: re.Pattern[str] | None = None
        if plan is not None and not plan.runs_trainer:
            self._filler = StepFiller(plan.world_size)
            self._pattern = script_lines.log_pattern(plan.log_pattern) if plan.log_pattern else None

    def parse(self, line: str | bytes) -> Report | Throughput | None:
        if self._filler is None:
            return parse(line)
        return script_lines.parse(line, self._pattern)

    def read(self, line: bytes, time_s: float) -> Report | None:
        """The next line; `time_s` is when it was written."""
        if self._filler is None:
            return parse(line)
        return self._filler.fill(self.parse(line), time_s)


class RankLog:
    """Tails `log.txt`, writes `metrics.bin`, and keeps what else the reports say."""

    def __init__(self, attempt: int, rank: int, paths: RankPaths, plan: Plan | None = None) -> None:
        self.attempt = attempt
        self._lines = LineReader(plan)
        self.rank = rank
        self.last_step: StepReport | None = None
        self.started: TrainingHeader | None = None
        self.stopped: Stopped | None = None
        self.fault: Fault | None = None
        self.done: Done | None = None
        self.resumed: Resumed | None = None
        self.path: Path = paths.log
        self._metrics = RecordFile(paths.metrics, metrics.METRIC_BYTES)
        self._tail = Tail(paths.log, self._resume_offset())
        self._epochs = 0
        self._input_ms: float | None = None
        """What the steps of this epoch have waited for images."""
        self._new_steps: deque[StepReport] = deque(maxlen=MAX_NEW_STEPS)
        self._eval: EvalReport | None = None
        self._announced = False
        self._first_step = True
        self._recent: deque[bytes] = deque(maxlen=LEARN_FROM + 1)

    def recent(self) -> tuple[metrics.MetricRecord, ...]:
        """The newest step reports."""
        return metrics.unpack(b"".join(self._recent))

    def step_times(self) -> tuple[float | None, float | None]:
        """As the sampler needs them, which calls this from its own thread."""
        new = [self._new_steps.popleft() for _ in range(len(self._new_steps))]
        steps = sum(report.steps for report in new)
        waits = [report.input_ms * report.steps for report in new if report.input_ms is not None]
        saves_ms = sum((report.save_ms or 0.0) * report.steps for report in new)
        if not steps:
            return None, None
        return sum(waits) / steps if waits else None, saves_ms / steps

    @property
    def read_to(self) -> int:
        """The offset up to which every line was read."""
        return self._tail.offset

    @property
    def trouble(self) -> OSError | None:
        """Why metrics can't be written now."""
        return self._metrics.trouble

    @property
    def is_done(self) -> bool:
        """Whether it has said its last word: all that it had to do and to write is there."""
        return self.done is not None or self.stopped is not None

    @property
    def global_step(self) -> int | None:
        """Steps done, as far as reports tell."""
        if self.last_step is not None and self.last_step.global_step is not None:
            return self.last_step.global_step + 1
        return self.resumed.step if self.resumed is not None else None

    def read(self, now_s: float, limit_bytes: int = READ_BYTES) -> list[Event]:
        """Reads up to `limit_bytes` of new log. -> what the reports say."""
        offset, lines = self._tail.read(limit_bytes)
        facts: list[Event] = []
        for line in lines:
            report = self._lines.read(line, now_s)
            if report is not None:
                facts.extend(self._take(report, now_s, offset))
            offset += len(line) + 1
        self._metrics.flush()
        return facts

    def announce(self) -> list[Event]:
        """That training has begun, unless a report said so."""
        is_known = self._announced or self.started is not None
        return [] if is_known else [self._training_started(None, None)]

    def drain(self, now_s: float) -> list[Event]:
        """Reads all that is there now."""
        facts = self.read(now_s)
        while not self._tail.at_end():
            facts += self.read(now_s)
        return facts

    def last_words(self) -> tuple[tuple[str, ...], int]:
        """(last lines, offset of the first of them), straight from the file's end.

        From a little before the last report on: what a rank said while it was connecting (it missed
        its peers for a while, as all do) must not be taken for why it died.
        """
        lines = LogReader(self.path).tail(LAST_LINES, LAST_BYTES).lines
        first = 0
        for index, line in enumerate(lines):
            report = self._lines.parse(line.text)
            if report is not None and not isinstance(report, Fault):
                first = max(0, index - BEFORE_LAST_REPORT)
        return tuple(line.text for line in lines[first:]), lines[first].offset if lines else 0

    def close(self) -> None:
        self._tail.close()
        self._metrics.close()

    def _resume_offset(self) -> int:
        """Where to continue after an agent that died: behind the line of the last record."""
        last = self._metrics.last()
        if last is None:
            return 0
        offset = metrics.unpack(last)[0].log_offset
        if offset is None:
            return 0
        with self.path.open("rb") as file:
            file.seek(offset)
            return offset + len(file.readline())

    def _take(self, report: Report, now_s: float, offset: int) -> Iterator[Event]:
        if isinstance(report, StepReport):
            self.last_step = report
            if report.input_ms is not None:
                self._input_ms = (self._input_ms or 0.0) + report.input_ms * report.steps
            record = metrics.pack(report, now_s, offset)
            self._metrics.append(record)
            self._new_steps.append(report)
            self._recent.append(record)
            if self._first_step and self.started is None:
                # A trainer that is not ours has no `start:` line.
                yield self._training_started(report.epochs, report.steps_per_epoch)
            self._first_step = False
        elif isinstance(report, TrainingHeader):
            self.started = report
            yield self._training_started(report.epochs, report.steps_per_epoch)
        elif isinstance(report, EpochReport):
            self._epochs = self._epochs + 1 if report.epoch is None else report.epoch
            input_ms, self._input_ms = self._input_ms, None
            yield events.EpochFinished(self.attempt, self._epochs, report.mean_loss, input_ms)
        elif isinstance(report, CheckpointSaved):
            yield events.CheckpointWritten(
                self.attempt,
                report.epoch,
                report.step,
                report.path,
                report.size_bytes,
                report.sha256,
                report.time_ms,
            )
        elif isinstance(report, EvalReport):
            self._eval = report
        elif isinstance(report, EvalResult):
            yield self._eval_finished(report)
        elif isinstance(report, Resumed):
            self.resumed = report
        elif isinstance(report, Stopped):
            self.stopped = report
        elif isinstance(report, Fault):
            self.fault = report
        elif isinstance(report, Done):
            self.done = report

    def _training_started(self, epochs: int | None, steps_per_epoch: int | None) -> Event:
        self._announced = True
        return events.TrainingStarted(self.attempt, epochs, steps_per_epoch)

    def _eval_finished(self, result: EvalResult) -> Event:
        line, self._eval = self._eval or EvalReport(), None
        return events.EvalFinished(
            attempt=self.attempt,
            epoch=line.epoch,
            step=line.step,
            images=line.images,
            weights=line.weights,
            took_ms=line.time_ms,
            loss=result.loss,
            top_1_acc=result.top_1_acc,
            top_5_acc=result.top_5_acc,
        )


class RankLogs(dict[int, RankLog]):
    """The logs of a node's ranks. `emit` gets what they report, `saved` each checkpoint."""

    def __init__(
        self,
        emit: Callable[[Event | Trouble], None],
        saved: Callable[[str, int | None], None],
    ) -> None:
        super().__init__()
        self._emit = emit
        self._saved = saved
        self._troubled: set[int] = set()

    def open(self, plan: Plan, paths: AttemptPaths) -> None:
        """Raises `OSError`."""
        for process in plan.ranks:
            if process.rank is not None:
                files = paths.rank(process.rank)
                self[process.rank] = RankLog(plan.attempt, process.rank, files, plan)

    @property
    def are_done(self) -> bool:
        """Whether all of them have said their last word."""
        return all(log.is_done for log in self.values())

    @property
    def read_to(self) -> dict[Path, int]:
        """Each file, and the offset up to which it was read."""
        return {log.path: log.read_to for log in self.values()}

    def read(self) -> None:
        """What is new, a part of it where it is much."""
        budget = READ_BYTES_A_TURN // max(1, len(self))
        for log in self.values():
            self._pass_on(log, log.read(time.time(), budget))
            if log.trouble is not None and log.rank not in self._troubled:
                self._troubled.add(log.rank)
                text = f"metrics of rank {log.rank} cannot be written: {log.trouble}"
                self._emit(Trouble(text))

    def read_all(self, rank: int) -> RankLog:
        """All that is new of one rank."""
        log = self[rank]
        self._pass_on(log, log.read(time.time()))
        return log

    def drain(self) -> None:
        """The rest of all of them, with last lines that have no end."""
        now_s = time.time()
        for log in self.values():
            self._pass_on(log, log.drain(now_s))

    def close(self) -> None:
        for log in self.values():
            log.close()

    def _pass_on(self, log: RankLog, found: list[Event]) -> None:
        for event in found:
            if isinstance(event, CheckpointWritten):
                self._saved(event.path, event.bytes)
            # The reports of the other ranks describe the same run.
            if log.rank == 0:
                self._emit(event)
