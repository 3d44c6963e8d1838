"""What has imported for the ranks of a node waits there for the next attempt, over SSH too."""

from __future__ import annotations

import os
import signal

from launcher import client
from launcher.store.run_lock import is_supervised

HOSTS = ("alpha", "beta")


def agents(lab) -> list[int]:
    return [lab.agent_pid(host) for host in HOSTS]


def test_agents_on_nodes_wait_and_go_on(lab):
    fails = {"rank": 1, "step": 3, "attempt": 1, "do": "exit", "code": 7}
    root = lab.start(fails, nodes=HOSTS, epochs=5000, keep_warm_s=3600)
    assert lab.end_of(root)["kind"] == "attempt_failed"
    lab.until(lambda: not is_supervised(root))
    before = agents(lab)
    request = client.ResumeRequest(preflight=False, checkpoint="scratch")
    client.resume(root, request)
    lab.wait_for(root, "training_started", count=2)
    assert agents(lab) == before
    assert "is not used" not in (root / "supervisor.log").read_text()
    os.kill(lab.rank_pid(root, 2, 2), signal.SIGKILL)
    assert lab.end_of(root)["kind"] == "attempt_failed"
    lab.until(lambda: not is_supervised(root))
    assert agents(lab) == before
    kept = client.open_run(root).poll().kept
    assert kept is not None
    assert {process.node for process in kept.processes} == set(HOSTS)
    assert "2 processes on 2 nodes wait until" in lab.command("status", root.name).stdout
    client.stop(root)
    lab.nothing_left()
    assert client.open_run(root).poll().kept is None
