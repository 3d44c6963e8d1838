"""A sample of `python -m tests.cluster.power_offs`: outcomes, never times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page import mark, write
from tests.cluster import power_offs
from tests.cluster.attempt_files import unbroken
from tests.cluster.lab import UNREACHABLE_S
from tests.cluster.power_offs import MOMENTS, NODES, PROGRAMS, STEPS, cold_start, draw, play

DOCS = Path(__file__).parents[2] / "docs"
SAMPLE = [draw(7, number) for number in (1, 3)]
UNBROKEN = unbroken(10_000, len(NODES))
"""The program itself trains such a run, which takes 25 s."""


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(power_offs.RUN, "unreachable_s", UNREACHABLE_S)


def test_the_sample_has_both_moments_and_rank_0() -> None:
    found = [(case.node, case.moment) for case in SAMPLE]
    assert found == [("alpha", "training"), ("beta", "start")]


@pytest.mark.usefixtures("_patient")
@pytest.mark.slow
def test_runs_train_again_on_the_spare_as_if_nothing_had_happened(lab, hosts):
    _, begun = cold_start(lab, 1)
    assert begun == {step: UNBROKEN[step] for step in range(1, STEPS + 1)}
    outcomes = []
    for case in SAMPLE:
        hosts.repair()
        outcomes.append(play(lab, case, UNBROKEN))
        assert not outcomes[-1].wrong, outcomes[-1]
    # Rank 0's own checkpoints are lost with it.
    assert [outcome.is_from_copy for outcome in outcomes] == [True, False]
    assert outcomes[0].step > 0


@pytest.mark.usefixtures("_patient")
@pytest.mark.slow
def test_runs_train_again_on_the_other_nodes_as_if_nothing_had_happened(lab):
    case = draw(7, 1, "shrink")
    assert (case.node, case.moment) == ("alpha", "training")
    outcome = play(lab, case, UNBROKEN)
    assert not outcome.wrong, outcome
    assert outcome.is_from_copy
    assert outcome.step > 0


def test_the_page_has_a_block_for_each_way_and_writing_one_keeps_the_other(tmp_path):
    page = tmp_path / "page.md"
    before = (DOCS / "power-offs.md").read_text()
    page.write_text(before)
    for way, program in PROGRAMS.items():
        write(page, program, f"{way}, again")
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith(("#", "<!--"))] == [
        line for line in before.splitlines() if line.startswith(("#", "<!--"))
    ]
    assert all(f"{mark(program)}{way}, again\n" in text for way, program in PROGRAMS.items())


def test_each_node_and_moment_comes_as_often_as_the_others() -> None:
    cases = [draw(3, number) for number in range(18)]
    found = [(case.node, case.moment) for case in cases]
    assert sorted(found) == sorted(2 * [(node, moment) for node in NODES for moment in MOMENTS])
    assert draw(3, 17) == cases[17]
