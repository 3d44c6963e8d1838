"""Why a rank is late: its reports and samples, compared with those of the other ranks.

Only ranks of one run are compared, over the same time: what slows all of them, such as a busy
machine, stands out for none. The time is halved, and a cause counts when both halves show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, median, median_low

from launcher.core.run.metrics import LoadRecord, MetricRecord
from launcher.core.text.figures import milliseconds

WINDOW_S = 60.0
MIN_REPORTS = 20
MIN_SAMPLES = 3
"""In each half."""

LATE_SHARE = 0.25
"""Of the step time: a rank that costs less than that is not explained."""

EXPLAINED = 0.4
"""A cause has to explain so much of the lateness."""

CORE_SHARE = 0.4
"""The same where it waits for a core: ranks of a busy machine wait unequally for a while."""

RATIO = 2.0
"""What stands out is so much more than what the other ranks have."""

CLOCKS_S = 0.1
"""Clocks of different nodes may differ by less."""


class Cause(str, Enum):
    """What makes a rank late."""

    WORK = "more work"
    QUOTA = "CPU quota"
    MEMORY = "memory limit"
    CORE = "busy core"
    DISK = "slow disk"
    SAVE = "checkpoints"
    INPUT = "input"
    LINK = "slow link"
    DEVICE = "slow device"


@dataclass(frozen=True)
class RankTimes:
    """One rank: its newest reports and load samples, oldest first."""

    rank: int
    node: str | None
    reports: Sequence[MetricRecord]
    loads: Sequence[LoadRecord]
    carried: int = 1
    """How many logical ranks it carries."""


@dataclass(frozen=True)
class LateRank:
    """A rank, what each of its steps costs the run, why, and what shows that."""

    rank: int
    node: str | None
    late_ms: float
    cause: Cause
    evidence: str

    @property
    def words(self) -> str:
        """``rank 5: slow disk: waits for images 3× the median; disk of node-b 92 % busy``."""
        return f"rank {self.rank}: {self.cause.value}: {self.evidence}"


def late_ranks(ranks: Sequence[RankTimes]) -> tuple[LateRank, ...]:
    """Those whose lateness has a cause, the latest first; empty where nothing stands out."""
    known = [item for item in ranks if item.reports]
    if len(known) < 2:
        return ()
    end_s = min(item.reports[-1].time_s for item in known)
    begin_s = max(item.reports[0].time_s for item in known)
    count = min(len(item.reports) for item in known)
    usual_s = (end_s - begin_s) / max(count - 1, 1)
    begin_s = max(begin_s, end_s - max(WINDOW_S, MIN_REPORTS * usual_s))
    middle_s = (begin_s + end_s) / 2
    halves = [_found(known, begin_s, middle_s), _found(known, middle_s, end_s)]
    found = [
        late
        for rank, late in halves[1].items()
        if rank in halves[0] and halves[0][rank].cause is late.cause
    ]
    return tuple(sorted(found, key=lambda late: -late.late_ms))


def _found(ranks: Sequence[RankTimes], begin_s: float, end_s: float) -> dict[int, LateRank]:
    figures = [_Figures(item, begin_s, end_s) for item in ranks]
    figures = [item for item in figures if item.is_enough]
    if len(figures) < 2:
        return {}
    shared = set.intersection(*(set(item.done_s) for item in figures))
    comparison = _Comparison(figures, sorted(shared))
    found = {}
    for item in figures:
        if (late := comparison.judge(item)) is not None:
            found[late.rank] = late
    return found


class _Figures:
    """One rank in one half of the time."""

    def __init__(self, of: RankTimes, begin_s: float, end_s: float) -> None:
        self.rank, self.node, self.carried = of.rank, of.node, of.carried
        reports = [item for item in of.reports if begin_s < item.time_s <= end_s]
        timed = [
            (item.steps, item.step_time_ms, item.wait_ms)
            for item in reports
            if item.step_time_ms is not None and item.wait_ms is not None
        ]
        self._loads = [item for item in of.loads if begin_s < item.time_s <= end_s]
        self.is_enough = len(timed) >= MIN_REPORTS // 2 and len(self._loads) >= MIN_SAMPLES
        self.done_s = {item.global_step: item.time_s for item in reports}
        steps = sum(row[0] for row in timed) or 1
        self.step_ms = sum(row[0] * row[1] for row in timed) / steps
        self.wait_ms = sum(row[0] * row[2] for row in timed) / steps
        self.busy_ms = self.step_ms - self.wait_ms

    def mean(self, name: str) -> float | None:
        known = [value for item in self._loads if (value := getattr(item, name)) is not None]
        return fmean(known) if known else None


class _Comparison:
    """All ranks in one half of the time."""

    def __init__(self, figures: Sequence[_Figures], steps: Sequence[int]) -> None:
        self._figures = figures
        self._steps = steps
        self._busy_ms = median_low(item.busy_ms for item in figures)
        self._step_ms = median(item.step_ms for item in figures)
        self._wait_ms = min(item.wait_ms for item in figures)

    def judge(self, item: _Figures) -> LateRank | None:
        behind_ms = self._behind_ms(item)
        late_ms = max(item.busy_ms - self._busy_ms, 0.0) + max(behind_ms, 0.0)
        if late_ms < LATE_SHARE * self._step_ms:
            return None
        for cause, evidence_of in _RULES:
            if evidence := evidence_of(_Question(self, item, late_ms, behind_ms)):
                return LateRank(item.rank, item.node, late_ms, cause, evidence)
        return None

    def work_of(self, item: _Figures) -> str:
        """That it carries more than others, where that alone makes it late."""
        least = min(other.carried for other in self._figures)
        usual_ms = median_low(f.busy_ms for f in self._figures if f.carried == least)
        is_more = item.carried > least
        if not is_more or item.busy_ms > (1 + LATE_SHARE) * usual_ms * item.carried / least:
            return ""
        return f"carries {item.carried} logical ranks, others {least}"

    def others(self, item: _Figures, name: str) -> float | None:
        """The median of the other ranks."""
        known = [
            value
            for other in self._figures
            if other is not item
            if (value := other.mean(name)) is not None
        ]
        return median(known) if known else None

    def _behind_ms(self, item: _Figures) -> float:
        """How long after the others it has the result of an all-reduce.

        Clocks of nodes differ, so of another node only a large time counts.
        """
        found = []
        for other in self._figures:
            if other is not item:
                apart = [item.done_s[step] - other.done_s[step] for step in self._steps]
                by_s = median(apart) if len(apart) >= MIN_REPORTS // 2 else 0.0
                found.append(by_s if other.node == item.node or by_s > CLOCKS_S else 0.0)
        return median_low(found) * 1000

    @property
    def step_ms(self) -> float:
        return self._step_ms

    @property
    def least_wait_ms(self) -> float:
        """What even the rank that comes last waits: the time of the all-reduce itself."""
        return self._wait_ms


@dataclass(frozen=True)
class _Question:
    """A late rank among the others."""

    ranks: _Comparison
    item: _Figures
    late_ms: float
    behind_ms: float

    def has_more(self, name: str, least: float, ratio: float = RATIO) -> tuple[float, float] | None:
        """(its own, the others') where its own stands out and is at least so much."""
        own, others = self.item.mean(name), self.ranks.others(self.item, name) or 0.0
        if own is None or own <= 0.0 or own < least or own < ratio * others:
            return None
        return own, others

    def takes(
        self, name: str, least: float = 5.0, ratio: float = RATIO
    ) -> tuple[float, float] | None:
        """The same of a percentage of time, where it explains the lateness."""
        found = self.has_more(name, least, ratio)
        if found is None:
            return None
        return found if self._explains((found[0] - found[1]) / 100 * self.ranks.step_ms) else None

    def costs(self, name: str) -> tuple[float, float] | None:
        """The same of milliseconds a step."""
        found = self.has_more(name, 0.0)
        return found if found is not None and self._explains(found[0] - found[1]) else None

    def _explains(self, ms: float) -> bool:
        return ms >= EXPLAINED * self.late_ms


def _work(late: _Question) -> str:
    return late.ranks.work_of(late.item)


def _quota(late: _Question) -> str:
    found = late.takes("throttled_percent")
    return f"its CPU quota stops it {found[0]:.0f} % of the time" if found else ""


def _memory(late: _Question) -> str:
    hits = late.has_more("limit_hits_s", 5.0)
    pressure = late.takes("memory_pressure_percent")
    if not hits and not pressure:
        return ""
    faults = late.has_more("major_faults_s", 5.0)
    if not (pressure or faults or late.takes("blocked_percent")):
        return ""
    words = [f"its cgroup meets its memory limit {hits[0]:.0f} times/s"] if hits else []
    words += [f"waits for memory {pressure[0]:.0f} % of the time"] if pressure else []
    words += [f"{faults[0]:.0f} major page faults/s"] if faults else []
    return "; ".join(words)


def _core(late: _Question) -> str:
    found = late.takes("core_wait_percent", 10.0, ratio=1.5)
    if not found or late.late_ms < CORE_SHARE * late.ranks.step_ms:
        return ""
    return (
        f"other processes use its core: it waits for one {found[0]:.0f} % of the time,"
        f" the others {found[1]:.0f} %"
    )


def _images(late: _Question) -> str:
    found = late.costs("input_ms")
    if not found:
        return ""
    own, others = found
    if others < own / 100:
        return f"waits for images {milliseconds(own)} a step"
    return f"waits for images {own / others:.1f}× the median"


def _disk(late: _Question) -> str:
    images = _images(late)
    blocked = late.takes("blocked_percent", 20.0)
    pressure = late.takes("io_pressure_percent", 20.0)
    busy = late.has_more("disk_busy_percent", 60.0)
    if not (blocked or (images and (pressure or busy))):
        return ""
    words = [images] if images else []
    words += [f"blocked in I/O {blocked[0]:.0f} % of the time"] if blocked else []
    own = late.item.mean("disk_busy_percent")
    if busy or (own is not None and own >= 60):
        node = f" of {late.item.node}" if late.item.node else ""
        words.append(f"disk{node} {own:.0f} % busy")
    return "; ".join(words)


def _save(late: _Question) -> str:
    found = late.costs("save_ms")
    return f"writes checkpoints for {milliseconds(found[0])} a step" if found else ""


def _input(late: _Question) -> str:
    images = _images(late)
    cpu = late.item.mean("cpu_percent")
    if not images:
        return ""
    if late.has_more("cpu_percent", 20.0):
        return f"{images}; its CPU is {cpu:.0f} % busy: decoding takes longer than elsewhere"
    return f"{images}; neither its disk nor its CPU is busy: look at decoding and the loader"


def _link(late: _Question) -> str:
    if late.behind_ms < EXPLAINED * late.late_ms or late.ranks.least_wait_ms < late.behind_ms:
        return ""
    words = f"gets results {milliseconds(late.behind_ms)} after the others"
    if again := late.has_more("retransmits_s", 1.0):
        words += f"; {late.item.node or 'its node'} sends {again[0]:.0f} TCP segments/s again"
    if errors := late.has_more("network_errors_s", 1.0):
        words += f"; {errors[0]:.0f} network errors/s"
    return words


def _device(late: _Question) -> str:
    own, others = late.item.mean("clock_mhz"), late.ranks.others(late.item, "clock_mhz")
    if own is None or others is None or own > 0.85 * others:
        return ""
    hot = late.item.mean("temperature_c")
    at = "" if hot is None else f" at {hot:.0f} °C"
    return f"its device runs at {own:.0f} MHz{at}, the others at {others:.0f} MHz"


_RULES: tuple[tuple[Cause, Callable[[_Question], str]], ...] = (
    (Cause.WORK, _work),
    (Cause.QUOTA, _quota),
    (Cause.MEMORY, _memory),
    (Cause.CORE, _core),
    (Cause.DISK, _disk),
    (Cause.SAVE, _save),
    (Cause.INPUT, _input),
    (Cause.DEVICE, _device),
    (Cause.LINK, _link),
)
"""The most specific first."""
