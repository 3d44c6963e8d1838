"""`python -m effnet export` of the whole B2, where the other tests export a small network."""

from __future__ import annotations

import checkpoints
import pytest

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def test_the_real_b2(tmp_path, answer):
    """The command itself compares the file with the network, at batch 1 and 3."""
    found = answer(
        *("export", "--checkpoint_path", checkpoints.imported(tmp_path, "b2")),
        *("--file_name", tmp_path / "b2", "--file_format", "ONNX", "--width", 32, "--height", 32),
    )
    assert 0 <= found["relative_difference"] <= 1e-4
    assert (tmp_path / "b2.onnx").stat().st_size == found["bytes"] > 30_000_000
