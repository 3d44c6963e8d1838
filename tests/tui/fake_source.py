"""A source without files: a run that moves with a counter, and remembers what it was asked for."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from launcher.client import (
    CheckpointFacts,
    JobState,
    ProfileEntry,
    RankSnapshot,
    RankStatus,
    ResumeChoice,
    Row,
    RowState,
    RunSnapshot,
    RunStatus,
    RunSummary,
    find_profile,
)
from launcher.core.run.checkpoints import Manifest
from launcher.core.run.events import Failure, FailureKind
from launcher.core.run.heartbeat import Phase
from launcher.core.run.info import RunInfo
from launcher.core.run.nodes import KeptState
from launcher.core.run.requests import (
    NoteRequest,
    Request,
    ResumeRequest,
    StacksRequest,
    StartRequest,
    StopRequest,
)
from launcher.core.run.state import AttemptState, EvalState, Hang, RunState
from tui.charts.viewport import window
from tui.logs.log_source import LogSource
from tui.model.run import ChartData, ChartRequest, Curve, FrameRequest, HomeView, RunFrame, SkewData
from tui.sources.source import PlanText, Player, RunSource, SourceError

NOW = 1_766_500_000.0
RUN = "local-cpu-20261123-191400-ab12"
STEPS = 45
LOCAL = find_profile("local-cpu").model_copy(update={"description": "two ranks on this machine"})


def evaluation(
    epoch: int, step: int, top_1: float, weights: str = "ema", loss: float = 1.9
) -> EvalState:
    return EvalState(NOW, 1, None, epoch, step, loss, top_1, 0.91, 360, weights)


def saved(epoch: int, step: int) -> CheckpointFacts:
    manifest = Manifest("0" * 64, 110 << 20, epoch, step, created_s=NOW)
    return CheckpointFacts(f"/runs/x/step-{step}.ckpt", manifest, 110 << 20)


def job(
    name: str, exit_code: int | None = None, started_s: float = NOW, **result: object
) -> JobState:
    """``001-eval``: running until it has an exit code."""
    ended_s = None if exit_code is None else NOW
    return JobState(name, name.split("-")[1], None, (), started_s, ended_s, exit_code, result)


def summary(run: str, status: str, age_s: float, **more: Any) -> RunSummary:
    plain = dict.fromkeys(field.name for field in fields(RunSummary))
    values = {
        **plain, "run": run, "path": f"/runs/{run}", "profile": "local-cpu", "world_size": 2,
        "status": RunStatus(status), "created_s": NOW - age_s,
        "note": "", "cause": "", "config": {}, **more,
    }  # fmt: skip
    return RunSummary(**values)  # type: ignore[arg-type]


def answer(check: str, node: str, state: str, text: str, hint: str = "") -> Row:
    return Row(check, node, RowState(state), text, hint)


class ListLog:
    """A log that is a list."""

    prefix = 0

    def __init__(self, lines: Sequence[str]) -> None:
        self.all = list(lines)
        self.stopped_at: int | None = None

    def refresh(self) -> int:
        return len(self.all)

    def lines(self, first: int, count: int) -> Sequence[str]:
        return self.all[max(first, 0) : max(first, 0) + max(count, 0)]

    def matches(
        self, pattern: re.Pattern[str], start: int, step: int, count: int
    ) -> list[tuple[int, str]]:
        stop = len(self.all) if step > 0 else -1
        numbers = range(min(start, len(self.all) - 1), stop, step)
        return [(at, self.all[at]) for at in numbers if pattern.search(self.all[at])][:count]

    def tail(self, count: int) -> Sequence[str]:
        return self.all[-count:]

    @property
    def is_counted(self) -> bool:
        return True

    def line_at(self, offset: int) -> int | None:
        for at, line in enumerate(self.all):
            offset -= len(line) + 1
            if offset < 0:
                return at
        return None


def log_lines(rank: int, count: int) -> list[str]:
    lines = [f"start: rank:[{rank}/8], target:[CPU], variant:[b2]"]
    for at in range(count):
        if at == 20:
            lines.append("WARNING: a step took long")
        if at == 30:
            lines.append("Traceback (most recent call last):")
        lines.append(
            f"epoch: [{at // STEPS:3}/ 20], step:[{at % STEPS:5}/   45], "
            f"loss:[{2.3 * math.exp(-at / 200):.5f}/2.31011], time:[941.315], images/s:[34.0]"
        )
    lines += ["[bold]not markup[/bold] \x1b[31mred\x1b[0m \x07 bell", "x" * 9000]
    return lines


class FakeRun:
    """One run of ``ranks`` ranks; ``tick`` moves it."""

    def __init__(self, ranks: int = 2, state: str = "running", nodes: int = 1) -> None:
        self.ranks, self.state, self.nodes = ranks, state, nodes
        self._changing = threading.RLock()
        """A poll sees all of a change, or nothing."""
        self.step = 100
        self.failure: Failure | None = None
        self.player: Player | None = None
        self.problem = ""
        self.requests: list[FrameRequest] = []
        self.restart_answer = ResumeChoice(
            "/runs/x/step-90.ckpt", "the newest", 2, 90, 11, verified=True
        )
        self.jobs: tuple[JobState, ...] = ()
        self.progress: dict[str, tuple[int, int]] = {}
        self.unreachable: dict[str, float] = {}
        self.evals: tuple[EvalState, ...] = (evaluation(1, 45, 0.55, loss=1.7),)
        self.checkpoints: tuple[CheckpointFacts, ...] = (saved(2, 90), saved(1, 45))
        self.late: int | None = ranks - 1
        self.note = ""
        self.runs_script = False
        self.hangs: Hang | None = None
        self.kept: KeptState | None = None
        self.logs = {rank: ListLog(log_lines(rank, 120)) for rank in range(ranks)}

    def fail(self, rank: int) -> None:
        failure = Failure(
            FailureKind.OOM, "the kernel killed it: the node ran out of memory",
            "a smaller batch, or fewer loader workers", rank, "node-b", None, 9, NOW - 61,
            last_lines=("loss:[1.1]", "MemoryError: 3 GiB"),
            followers=tuple(other for other in range(self.ranks) if other != rank),
            log_offset=sum(len(line) + 1 for line in self.logs[rank].all[:32]),
        )  # fmt: skip
        self.change(state="failed", failure=failure)

    def hang(self, *ranks: int) -> None:
        why = "its process is stopped (SIGSTOP or a debugger)"
        self.change(state="hung", hangs=Hang(ranks, "node-a", 4711, NOW + 88, "compute", why))

    def change(self, **values: object) -> None:
        with self._changing:
            for name, value in values.items():
                setattr(self, name, value)

    def row(self, rank: int) -> RankSnapshot:
        failed = self.failure is not None
        first = self.failure is not None and self.failure.rank == rank
        status = RankStatus.RUNNING
        if failed:
            status = RankStatus.FAILED if first else RankStatus.STOPPED
        if self.hangs is not None and rank in self.hangs.ranks:
            status = RankStatus.SILENT
        node = f"node-{'abcdefgh'[rank * self.nodes // self.ranks]}"
        return RankSnapshot(
            rank=rank, node=node, is_stale=node in self.unreachable,
            device=rank, status=status, phase=None if failed else Phase.COMPUTE,
            epoch=self.step // STEPS, step=self.step % STEPS - 1,
            loss=2.3 * math.exp(-self.step / 200),
            step_time_ms=941.3 + rank, wait_ms=12.1 + rank, images_per_s=34.0,
            memory_bytes=(1200 + rank) << 20, memory_limit_bytes=4 << 30,
            step_s=NOW + self.step - 0.4,
            lateness_ms=230.0 if rank == self.ranks - 1 else float(rank),
            signal=(9 if first else 15) if failed else None, is_first_failure=first,
        )  # fmt: skip

    def snapshot(self) -> RunSnapshot:
        status = RunStatus(self.state)
        attempt = AttemptState(
            1, self.ranks, NOW, status, failure=self.failure, unreachable=self.unreachable
        )
        state = RunState(status, RUN, attempts=(attempt,), evals=self.evals, jobs=self.jobs)
        done = self.step
        info = RunInfo(
            RUN, "local-cpu", NOW, self.ranks,
            start=StartRequest(note=self.note), runs_script=self.runs_script,
        )  # fmt: skip
        return RunSnapshot(
            RUN, "/runs/" + RUN, "local-cpu", status, state, NOW + done, created_s=NOW,
            attempt=1, world_size=self.ranks, ranks=tuple(map(self.row, range(self.ranks))),
            epoch=done // STEPS, epochs=20, step=done % STEPS, steps_per_epoch=STEPS,
            steps_done=done, steps_total=20 * STEPS, progress=done / (20 * STEPS),
            eta_s=None if self.hangs else 700.0, images_per_s=None if self.hangs else 34.0,
            loss=2.3 * math.exp(-done / 200), learning_rate=0.01, hang=self.hangs,
            is_stalled=self.hangs is not None,
            step_s=NOW + done - 0.4, info=info, unreachable=self.unreachable, kept=self.kept,
        )  # fmt: skip

    def frame(self, request: FrameRequest = FrameRequest()) -> RunFrame:  # noqa: B008
        if self.problem:
            raise SourceError(self.problem)
        self.requests.append(request)
        with self._changing:
            return RunFrame(
                self.snapshot(),
                tuple(map(self._chart, request.charts)),
                self._skew(request.skew_bins), self.checkpoints, self.progress,
            )  # fmt: skip

    def _chart(self, request: ChartRequest) -> ChartData:
        field, columns = request.field, request.columns
        curves = []
        single = field in ("loss", "images_per_s", "learning_rate")
        for rank in range(1 if single else self.ranks):
            scale = 1 << 28 if field == "memory_bytes" else 100
            values = [
                scale * (2 + rank / 4 + math.exp(-x / 20) + 0.2 * math.sin(x + self.step))
                for x in range(columns)
            ]
            pairs = tuple((value, value * 1.02) for value in values)
            label, number = ("", None) if single else (f"r{rank}", rank)
            curves.append(Curve(label, pairs, values[-1], rank=number))
        first, end = window((0, self.step), self.step, request.width, request.end)
        return ChartData(
            field, first, self.step, end, tuple(curves), ((0.5, "eval"),), request.axis, STEPS,
            (0, self.step),
        )  # fmt: skip

    def _skew(self, bins: int) -> SkewData:
        rows = tuple(
            tuple(
                0.266 if rank == self.ranks - 1 and at > bins * 2 // 3 else 0.0106 * (at % 7)
                for at in range(bins)
            )
            for rank in range(self.ranks)
        )
        return SkewData(
            tuple(range(self.ranks)), rows, (0.0,) * bins, 941.0,
            "" if self.late is None else f"rank {self.late} on node-b is 24 % late for 40 s",
            self.late,
        )  # fmt: skip

    def log(self, rank: int | None, attempt: int | None = None) -> LogSource:
        return self.logs[rank or 0]

    def events(self, attempt: int | None = None) -> LogSource:
        return ListLog(["12:03:11 attempt started: attempt 1, 2 ranks, from the beginning"])

    def times(self) -> LogSource:
        return ListLog(["took           12 min", "goodput          78 %"])

    def merged_log(self, ranks: Sequence[int], attempt: int | None = None) -> LogSource:
        lines = zip(*(self.logs[rank].all for rank in ranks), strict=True)
        merged = [f"r{rank} {line}" for row in lines for rank, line in zip(ranks, row, strict=True)]
        log = ListLog(merged)
        log.prefix = 3
        return log

    def restart(self) -> ResumeChoice:
        return self.restart_answer


class FakeSource:
    """All that the dashboard asks for, from memory; ``sent`` lists the actions."""

    def __init__(self, run: FakeRun | None = None) -> None:
        self.run = run if run is not None else FakeRun()
        self.view = HomeView(
            NOW,
            (
                summary(RUN, "running", 400, step_s=NOW - 1, epoch=2, epochs=20, progress=0.11,
                        loss=1.38, eta_s=700.0),
                summary("old-run", "failed", 9000, changed_s=NOW - 8000),
            ),
            (
                ProfileEntry("local-cpu", "local-cpu.toml", False,
                             LOCAL),
                ProfileEntry("broken", "broken.toml", True, None,
                             ("nodes.0.host: missing required key",)),
            ),
        )  # fmt: skip
        self.preflight_rows = [
            answer("python", "localhost", "ok", "Python 3.11.7, /opt/effnet/bin/python"),
            answer("data", "localhost", "ok", "/data: 10 classes in train, 10 classes in val"),
        ]
        self.preflights: list[StartRequest] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.sent: list[tuple[str, Request]] = []

    def home(self) -> HomeView:
        return self.view

    def open(self, name: str) -> RunSource:
        if name not in (RUN, "latest", "old-run"):
            raise SourceError(f"there is no run {name}")
        return self.run

    def plan(self, profile: str, request: StartRequest) -> PlanText:
        if "nope" in dict(request.settings):
            raise SourceError("nope: no such key; batch_size?")
        return (
            ("files", ("plan.json", "hostfile")),
            ("rank 0 on localhost", ("python -m effnet",)),
        )

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        return [(row.check, row.node) for row in self.preflight_rows]

    def preflight(
        self, profile: str, request: StartRequest, on_row: Callable[[Row], object]
    ) -> None:
        self.preflights.append(request)
        for row in self.preflight_rows:
            self.may_answer.wait(300)
            on_row(row)

    def send(self, target: str, request: Request) -> str:
        self.sent.append((target, request))
        if isinstance(request, StartRequest):
            return RUN
        if isinstance(request, StacksRequest):
            return f"{self.run.ranks} ranks wait in the all-reduce"
        if isinstance(request, NoteRequest):
            self.run.note = request.note
        if isinstance(request, StopRequest):
            self.run.state = "stopping"
            return "all ranks save, then exit"
        if isinstance(request, ResumeRequest):
            self.run.change(state="running", failure=None)
            return "attempt 2 from step 90"
        return f"001-{request.action}"


def empty() -> FakeSource:
    """Nothing there yet."""
    source = FakeSource()
    source.view = replace(source.view, runs=(), profiles=())
    return source
