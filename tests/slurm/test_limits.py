"""Real MindSpore over a time limit; `python -m tests.slurm.limits` does three (docs/how-to)."""

from __future__ import annotations

import pytest

from tests.cluster import real
from tests.slurm import limits

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def test_over_a_time_limit_the_weights_are_those_of_a_run_without_one(lab):
    images = real.make_images(lab.folder / "images")
    pieces = limits.interrupted(lab, images, epochs=8, count=1)
    whole = limits.start(lab, images, epochs=8)
    assert lab.end_of(whole, limits.LIMIT_S)["kind"] == "attempt_finished"
    assert limits.same_weights(whole, pieces, 2) > 50
    lab.no_job_left(pieces)
    lab.no_job_left(whole)
