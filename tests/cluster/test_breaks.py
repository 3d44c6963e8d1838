"""Every check of the fault tests turns red on a run of a product that is broken on purpose."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from launcher.core.run import checkpoints
from launcher.store import run_lock
from tests.cluster.hosts import kill

BREAKS = Path(__file__).with_name("breaks")


def broken_python(lab, *names):
    """An interpreter on the hosts that finds `breaks/sitecustomize.py`."""
    for name in names:
        path = lab.hosts[name].root / "tmp/broken-python"
        path.write_text(f'#!/bin/sh\nPYTHONPATH={BREAKS}:$PYTHONPATH exec {sys.executable} "$@"\n')
        path.chmod(0o755)
    return "/tmp/broken-python"


def test_every_check_turns_red(lab, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(BREAKS))
    root = lab.start(
        {"rank": 0, "step": 12, "do": "lose_line"},
        {"rank": 1, "step": 12, "do": "double_line"},
        {"rank": 2, "step": 1, "do": "fork", "session": True, "attempt": 1},
        {"rank": 3, "step": 24, "do": "kill", "attempt": 1},
        python=broken_python(lab, "alpha", "beta"),
    )
    with pytest.raises(AssertionError, match="rank: 0 is blamed, expected 3"):
        lab.failed(root, rank=3, node="beta", signal=signal.SIGKILL)
    # Until then it looks at the nodes again.
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.until(lambda: lab.left().keys() == {"beta"})
    with pytest.raises(AssertionError, match=r"left: \{'beta'"):
        lab.nothing_left(0)
    # What the product itself says is no proof.
    assert "leftover" not in (root / "supervisor.log").read_text()
    kill(list(lab.left()["beta"]))
    for rank, words in (
        (0, "line .* is lost: b'a line that is lost"),
        (1, "line .* is there twice: b'a line that is there twice"),
        (2, "rank 2: records"),
        (3, r"rank 3: from line .* b'plain 8"),
    ):
        with pytest.raises(AssertionError, match=words):
            lab.check_rank(root, rank)
    words = r"epoch_finished: events \[1\], rank 0 reported \[1, 2\]"
    with pytest.raises(AssertionError, match=words):
        lab.check_events(root)
    order = checkpoints.order
    monkeypatch.setattr(checkpoints, "order", lambda found: order(found)[::-1])
    with pytest.raises(AssertionError, match="step 10 was taken, the newest whole one is 20"):
        lab.resume_to_end(root)
    # Nobody was killed.
    with pytest.raises(AssertionError, match="attempt_finished"):
        lab.failed(root, rank=3)
    with pytest.raises(AssertionError, match=r"rank \d: steps"):
        lab.check_steps(root, 20, 30, attempt=2)
