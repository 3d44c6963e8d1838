"""Forked ranks of the real trainer learn the same bits as ranks that import by themselves."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from launcher import client
from launcher.store.run_lock import is_supervised
from tests.cluster import real

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]


def trained(
    lab, images: Path, fork: bool, *, is_second: bool = False
) -> tuple[list[str | None], str]:
    """-> what each rank has learned, and the digest of the last checkpoint's file.

    `is_second`: by the second attempt, with what the first one kept.
    """
    profile = real.profile(lab, images, slots=2)
    launch = f"[launch]\nfork = {json.dumps(fork)}\nkeep_warm_s = {3600 * is_second}\n"
    profile.write_text(f"{profile.read_text()}\n{launch}")
    root = lab.runs / client.start(str(profile), client.StartRequest(preflight=False))
    if is_second:
        lab.wait_for(root, "rank_started", count=2)
        os.kill(lab.pid_of(root, 1), signal.SIGKILL)
        lab.wait_for(root, "attempt_failed")
        lab.until(lambda: not is_supervised(root))
        agent = lab.agent_pids()[1]
        client.resume(root, client.ResumeRequest(preflight=False, checkpoint="scratch"))
        lab.wait_for(root, "rank_started", count=4)
        assert lab.agent_pids()[1] == agent
    ends = ("attempt_finished",) if is_second else ("attempt_finished", "attempt_failed")
    ended = lab.wait_for(root, *ends, timeout_s=600)
    assert ended["kind"] == "attempt_finished", ended
    attempt = 2 if is_second else 1
    assert (root / f"attempts/{attempt:03d}/fork-127.0.0.1.log").exists() == fork
    text = (root / "supervisor.log").read_text()
    assert "are not forked" not in text
    assert "is not used" not in text
    return real.states(root, 2, attempt), lab.events(root, "checkpoint_saved")[-1]["sha256"]


def test_forked_ranks_learn_the_same_bits(lab, tmp_path):
    images = real.make_images(tmp_path / "images", 4)
    states, checkpoint = trained(lab, images, fork=True)
    assert states[0] is not None
    assert states[0] == states[1]
    assert checkpoint
    assert (states, checkpoint) == trained(lab, images, fork=False)
    assert (states, checkpoint) == trained(lab, images, fork=True, is_second=True)
    lab.nothing_left()
