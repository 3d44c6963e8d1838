"""Which difference between an exported file and its network is tolerated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from effnet.export.compare import TOLERANCE, ExportRefused, compare

Floats = NDArray[np.float32]


def network(images: Floats) -> Floats:
    """Well-conditioned: the mean of each channel."""
    return images.mean(axis=(2, 3))


def steep(images: Floats) -> Floats:
    """Ill-conditioned: a small difference of large numbers, made large again."""
    sums = images.astype(np.float64).sum(axis=(2, 3))
    return (1e5 * np.sin(1e5 * sums)).astype(np.float32)


def off_by(share: float, right: object) -> object:
    def compute(images: Floats) -> Floats:
        logits = right(images)  # type: ignore[operator]
        return (logits + share * np.abs(logits).max()).astype(np.float32)

    return compute


def test_a_small_difference_is_reported_and_tolerated() -> None:
    difference = compare(off_by(TOLERANCE / 2, network), network, (3, 8, 8), (1, 3))  # type: ignore[arg-type]
    assert 0 < difference.relative < TOLERANCE
    assert difference.own is None


def test_beyond_the_tolerance_a_correct_network_is_refused() -> None:
    with pytest.raises(ExportRefused, match="no file was written"):
        compare(off_by(TOLERANCE * 3, network), network, (3, 8, 8), (1, 3))  # type: ignore[arg-type]


def test_an_ill_conditioned_network_is_held_to_its_own_rounding() -> None:
    difference = compare(off_by(0.003, steep), steep, (3, 8, 8), (1, 3))  # type: ignore[arg-type]
    assert difference.own is not None
    assert difference.own > TOLERANCE
    assert "own" in difference.text()
    with pytest.raises(ExportRefused):
        compare(off_by(0.2, steep), steep, (3, 8, 8), (1, 3))  # type: ignore[arg-type]
