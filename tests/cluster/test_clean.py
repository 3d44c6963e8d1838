"""What is left when all that watches a run is killed at once, and nobody could say a word."""

from __future__ import annotations

import json
import os
import signal

from launcher import client, programs
from launcher.remote import ssh
from launcher.store import run_lock
from tests.cluster.hosts import kill


def shared_memory(lab, host):
    # Whoever reads it sees those of his own namespace.
    table = lab.hosts[host].run("cat", "/proc/sysvipc/shm").splitlines()[1:]
    files = [path.name for path in (lab.hosts[host].root / "dev/shm").iterdir()]
    return len(table), sorted(name for name in files if name.startswith("standin-"))


def is_recorded(lab, root):
    """Whether the agent has written down both: it may look when only one of them is there."""
    path = lab.node_file(root, "beta", "attempts/001/agents/beta.shm.json")
    return path.exists() and len(json.loads(path.read_text())) == 2


def test_clean_ends_what_is_left_on_nodes_and_nothing_else(lab):
    leaky = {"step": 2, "do": "fork", "ignore_term": True, "session": True}
    shm = {"rank": 3, "step": 2, "do": "shm"}
    root = lab.start({"rank": 1, **leaky}, {"rank": 2, **leaky}, shm, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    lab.until(lambda: is_recorded(lab, root))
    lab.hosts["gamma"].run("sh", "-c", "EFFNET_TOKEN=other/001 setsid sleep 600 >&- 2>&- &")
    # First: it would connect to the nodes again, and start more there.
    lab.kill_supervisor(root)

    def are_gone():
        found = [
            seen
            for host in ("alpha", "beta")
            for seen in lab.hosts[host].processes()
            if any(f" {program}" in seen.command for program in programs.ALL)
        ]
        kill(found)
        return not found

    lab.until(are_gone)
    lab.until(lambda: not run_lock.is_supervised(root))
    segments, files = shared_memory(lab, "beta")
    assert (segments, len(files)) == (1, 1)
    done = lab.command("clean", "--json")
    found = json.loads(done.stdout)
    assert len(found["nodes"]["alpha"]["found"]) >= 2
    assert len(found["nodes"]["beta"]["found"]) >= 2
    assert len([what for what in found["others"]["beta"] if "bytes" in what]) == 2
    assert "sleep" not in done.stdout
    done = lab.command("clean", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shared_memory(lab, "beta") == (0, [])
    # What served the command there is on its way out.
    lab.until(lambda: lab.left().keys() == {"gamma"})
    foreign = lab.pid_like("gamma", "sleep", "600")
    os.kill(foreign, signal.SIGKILL)
    lab.hosts["beta"].kill_sshd()
    done = lab.command("clean", "--node", "beta")
    assert done.returncode == 6
    assert "beta" in done.stderr


def test_prune_connects_to_each_node_once(lab, monkeypatch):
    roots = [lab.start(epochs=1), lab.start(epochs=1)]
    for root in roots:
        assert lab.end_of(root)["kind"] == "attempt_finished"
        lab.until(lambda root=root: not run_lock.is_supervised(root))
    connected = []

    def connect(node, confirm_host=None):
        connected.append(node.label)
        return real(node, confirm_host)

    real = ssh.connect
    monkeypatch.setattr(ssh, "connect", connect)
    assert client.prune([str(root) for root in roots]) == ([root.name for root in roots], [])
    assert sorted(connected) == ["alpha", "beta"]
    assert not any(lab.node_file(root, "beta", "attempts").exists() for root in roots)


def test_an_agent_removes_the_shared_memory_of_its_killed_ranks(lab):
    root = lab.start({"rank": 3, "step": 2, "do": "shm"}, epochs=5000)
    lab.until(lambda: is_recorded(lab, root))
    os.kill(lab.rank_pid(root, 3), signal.SIGKILL)
    assert lab.end_of(root)["kind"] == "attempt_failed"
    lab.nothing_left()
    assert shared_memory(lab, "beta") == (0, [])
