"""A source without files: a run that moves with a counter, and remembers what it was asked for."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tui.logs.log_source import LogSource
from tui.model.checks import Check
from tui.model.run import (
    ChartData,
    Checkpoint,
    Curve,
    Evaluation,
    Failure,
    FrameRequest,
    HomeProfile,
    HomeRun,
    HomeView,
    RankRow,
    Restart,
    RunFrame,
    RunView,
    SkewData,
)
from tui.sources.source import PlanText, Player, RunSource, SourceError

NOW = 1_766_500_000.0
RUN = "local-cpu-20261123-191400-ab12"
STEPS = 45


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
        self.step = 100
        self.failure: Failure | None = None
        self.player: Player | None = None
        self.problem = ""
        self.requests: list[FrameRequest] = []
        self.restart_answer = Restart(
            True, 2, 90, 11, "/runs/x/step-90.ckpt", "newest", True, f"effnet-launch resume {RUN}"
        )
        self.logs = {rank: ListLog(log_lines(rank, 120)) for rank in range(ranks)}

    def fail(self, rank: int) -> None:
        self.state = "failed"
        self.failure = Failure(
            rank=rank, node="node-b", how="signal SIGKILL", kind="oom",
            meaning="the kernel killed it: the node ran out of memory",
            try_next="a smaller batch, or fewer loader workers",
            last_lines=("loss:[1.1]", "MemoryError: 3 GiB"),
            followers=tuple(other for other in range(self.ranks) if other != rank),
            log_offset=sum(len(line) + 1 for line in self.logs[rank].all[:32]), time=NOW - 61,
        )  # fmt: skip

    def row(self, rank: int) -> RankRow:
        failed = self.failure is not None
        first = self.failure is not None and self.failure.rank == rank
        state = ("failed" if first else "ended") if failed else "running"
        return RankRow(
            rank=rank, node=f"node-{'abcdefgh'[rank * self.nodes // self.ranks]}",
            device=f"cpu:{rank}", state=state, phase=None if failed else "compute",
            epoch=self.step // STEPS, step=self.step % STEPS, loss=2.3 * math.exp(-self.step / 200),
            step_time_ms=941.3 + rank, wait_ms=12.1 + rank, images_per_s=34.0,
            memory_bytes=(1200 + rank) << 20, memory_limit_bytes=4 << 30,
            newest=NOW + self.step - 0.4, late_ms=230.0 if rank == self.ranks - 1 else float(rank),
            signal="SIGKILL" if first else None, first_to_fail=first,
        )  # fmt: skip

    def view(self) -> RunView:
        return RunView(
            id=RUN, profile="local-cpu", path="/runs/" + RUN, state=self.state,
            now=NOW + self.step, created=NOW, attempt=1, world_size=self.ranks,
            epoch=self.step // STEPS, epochs=20, step=self.step % STEPS, steps_per_epoch=STEPS,
            loss=2.3 * math.exp(-self.step / 200), images_per_s=34.0, learning_rate=0.01,
            eta_s=700.0, newest=NOW + self.step - 0.4,
            worst=f"rank {self.ranks - 1} is 24 % late", worst_rank=self.ranks - 1,
            ranks=tuple(self.row(rank) for rank in range(self.ranks)), failure=self.failure,
            checkpoints=(Checkpoint(1, 45, "/runs/x/step-45.ckpt", 110 << 20, NOW),
                         Checkpoint(2, 90, "/runs/x/step-90.ckpt", 110 << 20, NOW)),
            evaluations=(Evaluation(1, 45, 1.7, 0.55, 0.91, 360, "ema", NOW),),
        )  # fmt: skip

    def frame(self, request: FrameRequest) -> RunFrame:
        if self.problem:
            raise SourceError(self.problem)
        self.requests.append(request)
        return RunFrame(
            self.view(), tuple(self._chart(chart.field, chart.columns) for chart in request.charts),
            self._skew(request.skew_bins),
        )  # fmt: skip

    def _chart(self, field: str, columns: int) -> ChartData:
        curves = []
        single = field in ("loss", "images_per_s", "learning_rate")
        for rank in range(1 if single else self.ranks):
            scale = 1 << 28 if field == "memory_bytes" else 100
            values = [
                scale * (2 + rank / 4 + math.exp(-x / 20) + 0.2 * math.sin(x + self.step))
                for x in range(columns)
            ]
            pairs = tuple((value, value * 1.02) for value in values)
            curves.append(Curve("mean" if single else f"r{rank}", pairs, values[-1]))
        return ChartData(field, 0, self.step, self.step, tuple(curves), ((0.5, "eval"),))

    def _skew(self, bins: int) -> SkewData:
        rows = tuple(
            tuple(
                250.0 if rank == self.ranks - 1 and at > bins * 2 // 3 else 10.0 * (at % 7)
                for at in range(bins)
            )
            for rank in range(self.ranks)
        )
        return SkewData(
            tuple(range(self.ranks)), rows, 941.0,
            f"rank {self.ranks - 1} on node-b is 24 % late for 40 s",
        )  # fmt: skip

    def log(self, rank: int | None) -> LogSource:
        return self.logs[rank or 0]

    def merged_log(self, ranks: Sequence[int]) -> LogSource:
        lines = zip(*(self.logs[rank].all for rank in ranks), strict=True)
        merged = [f"r{rank} {line}" for row in lines for rank, line in zip(ranks, row, strict=True)]
        log = ListLog(merged)
        log.prefix = 3
        return log

    def restart(self) -> Restart:
        return self.restart_answer


class FakeSource:
    """All that the dashboard asks for, from memory; ``asked`` lists the actions."""

    def __init__(self, run: FakeRun | None = None) -> None:
        self.run = run if run is not None else FakeRun()
        self.view = HomeView(
            NOW,
            (
                HomeRun(RUN, "local-cpu", "/runs/" + RUN, "running", NOW - 400, NOW - 1, 2, 20,
                        0.11, 1.38, 700.0),
                HomeRun("old-run", "local-cpu-8p", "/runs/old", "failed", NOW - 9000, NOW - 8000),
            ),
            (
                HomeProfile("local-cpu", "local-cpu.toml", ("node localhost", "  cpu 0  rank 0"),
                            "two ranks on this machine", 2),
                HomeProfile("broken", "broken.toml", errors=("nodes.0.host: a value is missing",)),
            ),
        )  # fmt: skip
        self.preflight_rows = [
            Check("python", "localhost", "ok", "Python 3.11.7, /opt/effnet/bin/python"),
            Check("data", "localhost", "ok", "/data: 10 classes in train, 10 classes in val"),
        ]
        self.preflights: list[Mapping[str, str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    def home(self) -> HomeView:
        return self.view

    def open(self, name: str) -> RunSource:
        if name not in (RUN, "latest", "old-run"):
            raise SourceError(f"there is no run {name}")
        return self.run

    def plan(self, profile: str, overrides: Mapping[str, str]) -> PlanText:
        if "nope" in overrides:
            raise SourceError("nope: no such key; batch_size?")
        return PlanText(
            (("files", ("plan.json", "hostfile")), ("rank 0 on localhost", ("python -m effnet",))),
            self.command("start", profile, overrides),
        )

    def checks(self, profile: str) -> Sequence[tuple[str, str]]:
        return [check.key for check in self.preflight_rows]

    def preflight(
        self, profile: str, overrides: Mapping[str, str], take: Callable[[Check], object]
    ) -> None:
        self.preflights.append(dict(overrides))
        for check in self.preflight_rows:
            self.may_answer.wait(30)
            take(check)

    def start(self, profile: str, overrides: Mapping[str, str]) -> str:
        self.asked.append(("start", profile, overrides))
        return RUN

    def stop(self, run: str, save: bool) -> str:
        self.asked.append(("stop", run, {"save": str(save)}))
        self.run.state = "stopping"
        return "asked to save and stop"

    def resume(self, run: str) -> str:
        self.asked.append(("resume", run, {}))
        self.run.state, self.run.failure = "running", None
        return "attempt 2 from step 90"

    def start_job(self, run: str, kind: str, options: Mapping[str, str]) -> str:
        self.asked.append((kind, run, options))
        return f"001-{kind}"

    def command(self, action: str, target: str, options: Mapping[str, str]) -> str:
        words = [f"--{key} {value}" for key, value in options.items()]
        return " ".join(["effnet-launch", action, target, *words])


def empty() -> FakeSource:
    """Nothing there yet."""
    source = FakeSource()
    source.view = replace(source.view, runs=(), profiles=())
    return source
