"""The cause of lateness, from made-up figures of four ranks."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from launcher.core.diagnosis.lateness import Cause, LateRank, RankTimes, late_ranks
from launcher.core.run.metrics import LoadRecord, MetricRecord

STEPS, STEP_MS, WORK_MS = 200, 100.0, 40.0
USUAL = {
    "cpu_percent": 60.0,
    "input_ms": 5.0,
    "save_ms": 0.0,
    "core_wait_percent": 4.0,
    "blocked_percent": 2.0,
    "limit_hits_s": 0.0,
    "major_faults_s": 0.1,
    "memory_pressure_percent": 0.5,
    "io_pressure_percent": 1.0,
    "disk_busy_percent": 8.0,
    "retransmits_s": 0.1,
    "clock_mhz": 1410.0,
}


def rank_times(
    rank: int,
    late_ms: float = 0.0,
    behind_s: float = 0.0,
    node: str = "node-a",
    seed: int = 0,
    most_ms: float = 0.0,
    **load: float | None,
) -> RankTimes:
    """A rank in a run whose latest rank is `most_ms` late: the others wait for that one."""
    draw = random.Random(f"{seed} {rank}")
    step_ms = STEP_MS + most_ms
    reports, loads = [], []
    for step in range(STEPS):
        at_s = 1000 + step * step_ms / 1000
        busy_ms = (WORK_MS + late_ms) * draw.uniform(0.9, 1.1)
        done_s = at_s + behind_s + draw.uniform(0, 0.002)
        rest = (step_ms, step_ms - busy_ms, None, None, None, None)
        reports.append(MetricRecord(done_s, step, 0, 1, None, None, *rest))
        if step % 10 == 0:
            figures: dict[str, Any] = {**USUAL, **load}
            noisy = {
                k: None if v is None else v * draw.uniform(0.8, 1.2) for k, v in figures.items()
            }
            loads.append(LoadRecord(at_s, **noisy))
    return RankTimes(rank, node, reports, loads)


def found(late_ms: float = 100.0, node: str = "node-b", **figures: Any) -> tuple[LateRank, ...]:
    """What is named when rank 2 is so late and has these figures."""
    others = [rank_times(rank, most_ms=late_ms) for rank in (0, 1, 3)]
    return late_ranks([*others, rank_times(2, late_ms, node=node, most_ms=late_ms, **figures)])


CASES: list[tuple[Cause, dict[str, Any], str]] = [
    (
        Cause.QUOTA,
        {"throttled_percent": 55.0, "core_wait_percent": 60.0},
        "its CPU quota stops it",
    ),
    (
        Cause.MEMORY,
        {"limit_hits_s": 90.0, "major_faults_s": 300.0, "input_ms": 60.0, "blocked_percent": 50.0},
        "its cgroup meets its memory limit",
    ),
    (Cause.CORE, {"core_wait_percent": 60.0}, "other processes use its core: it waits for one"),
    (
        Cause.DISK,
        {"input_ms": 62.0, "blocked_percent": 45.0, "disk_busy_percent": 92.0},
        "disk of node-b 9",
    ),
    (Cause.DISK, {"input_ms": 62.0, "disk_busy_percent": 92.0}, "waits for images 1"),
    (Cause.SAVE, {"save_ms": 55.0}, "writes checkpoints for"),
    (Cause.INPUT, {"input_ms": 62.0}, "neither its disk nor its CPU is busy"),
    (Cause.INPUT, {"input_ms": 62.0, "cpu_percent": 180.0}, "decoding takes longer"),
    (Cause.DEVICE, {"clock_mhz": 900.0, "temperature_c": 88.0}, "its device runs at 9"),
]


@pytest.mark.parametrize(("cause", "figures", "words"), CASES)
def test_the_figure_that_stands_out_is_the_cause(
    cause: Cause, figures: dict[str, Any], words: str
) -> None:
    (late,) = found(**figures)
    assert (late.rank, late.node, late.cause) == (2, "node-b", cause)
    assert words in late.evidence
    assert late.words.startswith(f"rank 2: {cause.value}: ")
    assert late.late_ms == pytest.approx(100.0, rel=0.1)


@pytest.mark.parametrize(("cause", "figures", "words"), CASES)
def test_what_stands_out_in_a_rank_that_is_not_late_is_no_cause(
    cause: Cause, figures: dict[str, Any], words: str
) -> None:
    assert found(late_ms=0.0, **figures) == ()


@pytest.mark.parametrize(("cause", "figures", "words"), CASES)
def test_what_all_ranks_have_is_no_cause(cause: Cause, figures: dict[str, Any], words: str) -> None:
    others = [rank_times(rank, most_ms=60.0, **figures) for rank in (0, 1, 3)]
    assert late_ranks([*others, rank_times(2, 60.0, most_ms=60.0, **figures)]) == ()


def test_a_late_rank_where_nothing_stands_out_has_no_cause() -> None:
    assert found() == ()


def test_results_that_come_late_to_a_rank_are_its_link() -> None:
    others = [rank_times(rank, most_ms=80.0) for rank in (0, 1, 3)]
    slow = rank_times(2, behind_s=0.06, most_ms=80.0, retransmits_s=40.0)
    (late,) = late_ranks([*others, slow])
    assert (late.rank, late.cause) == (2, Cause.LINK)
    assert "gets results" in late.evidence
    assert "TCP segments/s again" in late.evidence


def test_a_rank_that_carries_more_is_late_by_that_unless_it_is_later_still() -> None:
    def of(late_ms: float) -> list[Cause]:
        slow = {"input_ms": 62.0, "blocked_percent": 45.0, "disk_busy_percent": 92.0}
        ranks = [rank_times(n, most_ms=late_ms) for n in (1, 2)]
        more = replace(rank_times(0, late_ms, most_ms=late_ms, **slow), carried=2)
        return [late.cause for late in late_ranks([more, *ranks])]

    assert of(WORK_MS) == [Cause.WORK]
    assert of(4 * WORK_MS) == [Cause.DISK]


def test_a_clock_that_differs_is_no_slow_link() -> None:
    # Where the last rank waits for less, the results cannot take so long.
    others = [rank_times(rank) for rank in (0, 1)]
    assert late_ranks([*others, rank_times(2, behind_s=0.3, node="node-b")]) == ()
    assert late_ranks([*others, rank_times(2, behind_s=0.08, node="node-b")]) == ()


def test_a_cause_that_only_one_half_of_the_time_shows_does_not_count() -> None:
    others = [rank_times(rank, most_ms=60.0) for rank in (0, 1, 3)]
    before = rank_times(2, most_ms=60.0)
    after = rank_times(2, 60.0, most_ms=60.0, input_ms=62.0)
    half = RankTimes(
        2,
        "node-a",
        [*before.reports[:100], *after.reports[100:]],
        [*before.loads[:10], *after.loads[10:]],
    )
    assert late_ranks([*others, half]) == ()


@pytest.mark.parametrize("ranks", [0, 1, 2, 8])
def test_healthy_and_empty_runs_name_nothing(ranks: int) -> None:
    assert late_ranks([RankTimes(rank, None, (), ()) for rank in range(ranks)]) == ()
    assert late_ranks([rank_times(rank, seed=ranks) for rank in range(ranks)]) == ()


def test_too_few_reports_or_samples_name_nothing() -> None:
    def first(times: RankTimes, reports: int, loads: int) -> RankTimes:
        return RankTimes(times.rank, times.node, times.reports[:reports], times.loads[:loads])

    every = [rank_times(rank, most_ms=60.0) for rank in (0, 1, 3)]
    every.append(rank_times(2, 60.0, most_ms=60.0, input_ms=62.0))
    assert late_ranks(every)
    assert late_ranks([first(times, 10, 20) for times in every]) == ()
    assert late_ranks([first(times, 200, 2) for times in every]) == ()


def test_records_without_figures_name_nothing() -> None:
    empty = [LoadRecord(1000.0 + at) for at in range(20)]
    bare = [RankTimes(item.rank, None, item.reports, empty) for item in map(rank_times, range(3))]
    assert late_ranks([*bare, RankTimes(3, None, rank_times(3, 60.0).reports, empty)]) == ()
    blank = MetricRecord(1000.0, 0, 0, 1, *[None] * 8)
    assert late_ranks([RankTimes(rank, None, [blank] * 30, empty) for rank in range(3)]) == ()
