"""prune removes what is old and never a running run."""

from __future__ import annotations

import json

from launcher import client
from launcher.store import run_lock


def test_prune_removes_old_runs_but_no_live_one(lab):
    old = lab.start(epochs=1)
    lab.wait_for(old, "attempt_finished")
    lab.until(lambda: not run_lock.is_supervised(old))
    living = lab.start(epochs=5000)
    lab.wait_for(living, "training_started")
    assert lab.command("prune", "--keep", "0").returncode == 4
    assert lab.command("prune", "--run", living.name, "--yes").returncode == 4
    assert json.loads(lab.command("prune", "--keep", "0", "--yes", "--json").stdout) == {
        "removed": [old.name]
    }
    assert [path.name for path in lab.runs.iterdir()] == [living.name]
    client.stop(living, client.StopRequest(save=False))
    lab.wait_for(living, "attempt_stopped")
