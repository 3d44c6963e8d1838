"""Whether a run has stalled follows from its own limits, not from the defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.core.profile.model import Limits
from launcher.core.run.paths import RunPaths
from launcher.reading.attempt_files import limits_of


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"limits": {"silent_min_s": 120.0}}, Limits(silent_min_s=120.0)),
        ({"limits": {"silent_min_s": 120.0, "of_a_later_version": 3}}, Limits(silent_min_s=120.0)),
        ({"limits": {"silent_min_s": "long"}}, Limits()),
        ({"limits": [1]}, Limits()),
        ({}, Limits()),
        (None, Limits()),
    ],
)
def test_limits_are_those_of_the_profile(tmp_path: Path, profile: object, expected: Limits) -> None:
    paths = RunPaths(tmp_path)
    if profile is not None:
        paths.profile.write_text(json.dumps(profile))
    assert limits_of(paths, 1) == expected


def test_an_attempt_keeps_the_limits_that_it_began_with(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.attempt(1).root.mkdir(parents=True)
    paths.attempt(1).profile.write_text(json.dumps({"limits": {"silent_min_s": 60.0}}))
    paths.profile.write_text(json.dumps({"limits": {"silent_min_s": 90.0}}))
    assert limits_of(paths, 1).silent_min_s == 60.0
    assert limits_of(paths, 2).silent_min_s == 90.0
