"""Some of the endings of `python -m tests.slurm.endings`."""

from __future__ import annotations

import pytest

from tests.slurm import endings


@pytest.mark.parametrize("kind", ["node set down", "node lost at launch", "preempted"])
def test_a_run_whose_job_slurm_ends_continues_and_leaves_nothing(lab, kind):
    endings.play(lab, kind)


def test_every_kind_comes_once_before_one_comes_twice():
    assert sorted(endings.draw(3, number) for number in range(len(endings.KINDS))) == sorted(
        endings.KINDS
    )


def test_a_run_can_be_stopped_while_slurmctld_does_not_answer(lab):
    endings.play(lab, "slurmctld killed")
