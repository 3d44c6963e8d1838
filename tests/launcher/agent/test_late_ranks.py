"""A small sample of `tests.launcher.lateness_loop`: what needs no rights on the machine."""

from __future__ import annotations

import pytest

from launcher.core.diagnosis.lateness import Cause
from tests.launcher import lateness_loop


@pytest.mark.parametrize("cause", [Cause.INPUT, Cause.LINK])
def test_a_planted_cause_is_the_one_that_is_named(
    cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness_loop, "MOST_S", 240.0)
    outcome, words = lateness_loop.play(cause, 1, until_right=True)
    assert outcome == "right", words
