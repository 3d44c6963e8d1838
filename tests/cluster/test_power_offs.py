"""A sample of `python -m tests.cluster.power_offs`: outcomes, never times."""

from __future__ import annotations

import pytest

from tests.cluster.power_offs import MARKS, MOMENTS, NODES, cold_start, draw, play, write

SAMPLE = [draw(7, number) for number in (1, 3)]


def test_the_sample_has_both_moments_and_rank_0() -> None:
    found = [(case.node, case.moment) for case in SAMPLE]
    assert found == [("alpha", "training"), ("beta", "start")]


@pytest.mark.slow
def test_runs_train_again_on_the_spare_as_if_nothing_had_happened(lab, hosts):
    _, unbroken = cold_start(lab, 20)
    outcomes = []
    for case in SAMPLE:
        hosts.repair()
        outcomes.append(play(lab, case, unbroken))
        assert not outcomes[-1].wrong, outcomes[-1]
    # Rank 0's own checkpoints are lost with it.
    assert [outcome.is_from_copy for outcome in outcomes] == [True, False]
    assert outcomes[0].step > 0


@pytest.mark.slow
def test_runs_train_again_on_the_other_nodes_as_if_nothing_had_happened(lab, hosts):
    _, unbroken = cold_start(lab, 20, "shrink")
    hosts.repair()
    case = draw(7, 1, "shrink")
    assert (case.node, case.moment) == ("alpha", "training")
    outcome = play(lab, case, unbroken)
    assert not outcome.wrong, outcome
    assert outcome.is_from_copy
    assert outcome.step > 0


def test_a_page_has_a_table_for_each_way(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# P\n" + "".join(f"\n## {way}\n\n{mark}" for way, mark in MARKS.items()))
    for text in ("old\n", "new\n"):
        for way, mark in MARKS.items():
            write(page, f"{way} {text}", mark)
    assert page.read_text().count("\n## ") == len(MARKS)
    assert "old" not in page.read_text()
    assert all(f"{mark}{way} new\n" in page.read_text() for way, mark in MARKS.items())


def test_each_node_and_moment_comes_as_often_as_the_others() -> None:
    cases = [draw(3, number) for number in range(18)]
    found = [(case.node, case.moment) for case in cases]
    assert sorted(found) == sorted(2 * [(node, moment) for node in NODES for moment in MOMENTS])
    assert draw(3, 17) == cases[17]
