"""`preflight --calibrate`: a run of a few steps, whose times `plan` uses."""

from __future__ import annotations

import json

import pytest

from launcher.store import calibrations
from tests.launcher.conftest import Lab

pytestmark = pytest.mark.runs
PASSED = ["--ignore", "mindspore", "--ignore", "effnet-tui", "--ignore", "data"]


def test_a_plan_knows_its_duration_after_a_calibration(lab: Lab) -> None:
    profile = str(lab.profile())
    before = lab.command("plan", profile, timeout_s=300).stdout
    assert f"duration not known: effnet-launch preflight {profile} --calibrate" in before
    measured = lab.command("preflight", profile, "--quiet", "--calibrate", *PASSED, timeout_s=300)
    assert measured.returncode == 0, measured.stdout + measured.stderr
    assert "3 epochs: 30 steps of 20 ms, 3 evaluations of 500 ms" in measured.stdout

    known = calibrations.read("standin")
    assert known is not None
    assert (known.ranks, known.steps, known.steps_per_epoch) == (2, 10, 10)
    after = lab.command("plan", profile, "--set", "batch_size=2", timeout_s=300).stdout
    assert "2 ranks on 127.0.0.1" in after
    assert "a rank's cores prepare 500 images/s, its steps take 800" in after
    assert "note: steps wait for images: give the ranks more cores" in after
    assert f"run {known.run}" in after
    assert "batch_size 16, now 2" in after
    found = json.loads(lab.command("plan", profile, "--json", timeout_s=300).stdout)["estimate"]
    assert found["duration_s"] == pytest.approx(known.startup_s + 30 * 0.02 + 3 * 0.5)
    assert found["other"] == []


def test_a_calibration_that_fails_keeps_nothing(lab: Lab) -> None:
    profile = str(lab.profile({"rank": 1, "do": "exit", "code": 3}))
    failed = lab.command("preflight", profile, "--quiet", "--calibrate", *PASSED, timeout_s=300)
    assert failed.returncode != 0
    assert calibrations.read("standin") is None
