"""When file descriptors run out, the supervisor sheds connections and keeps its event log."""

from __future__ import annotations

import json
import os
import resource
import socket

from launcher import client


def test_more_connections_than_file_descriptors(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "epoch_finished")
    pid = lab.supervisor_pid(root)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (100, 100))
    path = json.loads((root / "supervisor.json").read_text())["socket"]
    connections = []
    try:
        for _ in range(130):
            connections.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connections[-1].connect(path)
        seen = len(lab.events(root))
        lab.until(lambda: len(lab.events(root)) > seen + 3)
        assert len(os.listdir(f"/proc/{pid}/fd")) < 90
        assert lab.supervisor_pid(root) == pid
        client.stop(root)
        lab.wait_for(root, "attempt_stopped")
        assert len(lab.events(root, "supervisor_started")) == 1
    finally:
        for connection in connections:
            connection.close()
    lab.nothing_left()
