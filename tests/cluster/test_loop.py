"""A sample of the random faults of `python -m tests.cluster.loop`: outcomes, never times."""

from __future__ import annotations

import pytest

from tests.cluster.lab import UNREACHABLE_S
from tests.cluster.loop import kinds
from tests.cluster.loop.kinds import KINDS
from tests.cluster.loop.scene import judge
from tests.cluster.loop.workers import draw

SAMPLE = [draw(30, number) for number in range(6)]


@pytest.mark.parametrize(
    "case", SAMPLE, ids=lambda case: f"{case.number}-{case.method}-{case.kind}"
)
def test_a_random_fault_ends_as_expected(lab, case, monkeypatch):
    monkeypatch.setattr(kinds, "UNREACHABLE_S", UNREACHABLE_S)
    verdict = judge(lab, case, KINDS[case.kind])
    assert not verdict.wrong, verdict


def test_each_kind_comes_once_before_one_comes_twice():
    cases = [draw(3, number) for number in range(2 * len(KINDS))]
    kinds = [case.kind for case in cases if case.method == "mpirun"]
    assert sorted(kinds) == sorted(KINDS)
    assert [case.method for case in cases[:4]] == ["cluster", "mpirun"] * 2
    assert draw(3, 17) == cases[17]
