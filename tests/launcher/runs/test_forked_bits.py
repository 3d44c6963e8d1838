"""Forked ranks of the real trainer learn the same bits as ranks that import by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher import client
from tests.cluster import real

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def trained(lab, images: Path, fork: bool) -> tuple[list[str | None], str]:
    """-> what each rank has learned, and the digest of the last checkpoint's file."""
    profile = real.profile(lab, images, slots=2)
    profile.write_text(f"{profile.read_text()}\n[launch]\nfork = {json.dumps(fork)}\n")
    root = lab.runs / client.start(str(profile), client.StartRequest(preflight=False))
    ended = lab.wait_for(root, "attempt_finished", "attempt_failed", timeout_s=600)
    assert ended["kind"] == "attempt_finished", ended
    assert (root / "attempts/001/fork-127.0.0.1.log").exists() == fork
    assert "are not forked" not in (root / "supervisor.log").read_text()
    return real.states(root, 2), lab.events(root, "checkpoint_saved")[-1]["sha256"]


def test_forked_ranks_learn_the_same_bits(lab, tmp_path):
    images = real.make_images(tmp_path / "images", 4)
    states, checkpoint = trained(lab, images, fork=True)
    assert states[0] is not None
    assert states[0] == states[1]
    assert checkpoint
    assert (states, checkpoint) == trained(lab, images, fork=False)
    lab.nothing_left()
