"""Where the time of real runs went; the whole is `python -m tests.launcher.goodput_loop`."""

from __future__ import annotations

import pytest

from tests.launcher import goodput_loop


@pytest.mark.parametrize("number", [22, 33])
def test_each_second_of_a_run_is_in_its_class(number: int) -> None:
    """A seeded sample: one run whose rank is killed, and one that is stopped."""
    result = goodput_loop.play(number, seed=1)
    assert not result.missing(least=0.5), f"{result.planted} {result.found}"
    assert result.off <= 0.01
