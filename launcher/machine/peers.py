"""Whether this machine's own ssh, which mpirun uses, reaches other nodes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.core.checks.facts import Peer
from launcher.ipc.operations import CheckPeers
from launcher.machine.environment import after_setup
from launcher.process.tools import output

LIMIT_S = 25.0
AT_ONCE = 16
MISSING = f"effnet-none-{os.getpid()}"
KNOWN_HOSTS = "@KNOWN_HOSTS@"
"""Stands in a configuration for the path of the file with the host keys."""


def peers(request: CheckPeers) -> tuple[Peer, ...]:
    """Tries all nodes at once, with that configuration and those host keys."""
    question = request.question
    environment, _ = after_setup(question)
    with tempfile.TemporaryDirectory(prefix="effnet-") as folder:
        keys, file = Path(folder, "known_hosts"), Path(folder, "ssh_config")
        keys.write_text(request.known_hosts)
        file.write_text(request.config.replace(KNOWN_HOSTS, str(keys)))
        file.chmod(0o600)

        def reach(node: tuple[str, str]) -> Peer:
            return _reach(node, file, question.mpi_daemon, environment)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return tuple(pool.map(reach, request.nodes))


def _reach(
    node: tuple[str, str], config: Path, daemon: str, environment: Mapping[str, str]
) -> Peer:
    name, address = node
    # mpirun's ssh has no login shell either.
    command = f"command -v {daemon} || echo {MISSING}" if daemon else "true"
    text, problem = output(["ssh", "-F", str(config), address, command], environment, LIMIT_S)
    if problem:
        return Peer(name, problem)
    return Peer(name, lacks_daemon=MISSING in text)
