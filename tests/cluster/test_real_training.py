"""Real MindSpore between real hosts: 2 nodes x 2 ranks end with the bits of 4 local ranks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from launcher import client
from tests.cluster import real

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def train(lab, method, images, names, slots):
    """Trains three steps of four ranks. -> the run directory; all ranks have the same bits."""
    profile = real.profile(lab, images, names, slots=slots, method=method)
    root = lab.runs / client.start(str(profile), client.StartRequest(preflight=False))
    ended = lab.end_of(root, 300)
    assert ended["kind"] == "attempt_finished", ended
    states = real.states(root, 4)
    assert None not in states
    assert len(set(states)) == 1, states
    return root


def weights_of(folder, aside):
    """The newest checkpoint's tensors; MindSpore can't read through /proc/PID/root."""
    from effnet.weights.files import read_tensors

    return read_tensors(shutil.copy(max(folder.glob("step-*.ckpt")), aside))


def test_two_nodes_train_to_the_weights_of_four_local_ranks(lab, tmp_path):
    images = real.make_images(tmp_path / "images")
    local = train(lab, "cluster", images, (), 4)
    expected = weights_of(local / "checkpoint", tmp_path / "local.ckpt")
    for method in ("cluster", "mpirun"):
        root = train(lab, method, images, ("alpha", "beta"), 2)
        lab.nothing_left()
        lab.check_copies(root)
        there = lab.node_file(root, "alpha", "checkpoint")
        found = weights_of(there, tmp_path / f"{method}.ckpt")
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, f"{method}: {name}")
        log = (root / "attempts/001/ranks/0000/log.txt").read_text()
        assert "all-reduced through TCP between machines" in log
