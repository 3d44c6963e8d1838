"""clean ends what nobody watches."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import psutil

from launcher import client


def test_clean_ends_what_nobody_watches(lab):
    root = lab.start(epochs=100)
    lab.wait_for(root, "training_started")
    rank = lab.pid_of(root, 0)
    assert json.loads(lab.command("clean", "--json").stdout)["found"] == []
    stray = subprocess.Popen(
        ["sleep", "300"],
        env={**os.environ, "EFFNET_TOKEN": "a-run-of-yesterday/001"},
        start_new_session=True,
    )
    try:
        found = json.loads(lab.command("clean", "--json").stdout)["found"]
        assert found == [stray.pid]
        assert lab.command("clean", "--yes").returncode == 0
        assert stray.wait(5) == -signal.SIGTERM
    finally:
        stray.kill()
    assert psutil.pid_exists(rank)
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
