"""Whether this machine's own ssh reaches other nodes, as mpirun will use it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.core.checks.facts import Peer, Question
from launcher.machine.environment import after_setup
from launcher.process.tools import output

LIMIT_S = 25.0
AT_ONCE = 16
MISSING = f"effnet-none-{os.getpid()}"
KNOWN_HOSTS = "@KNOWN_HOSTS@"
"""Where a configuration has this, the path of the file with the host keys is put."""


def peers(
    question: Question, config: str, known_hosts: str, nodes: Sequence[tuple[str, str]]
) -> tuple[Peer, ...]:
    """Tries every (name, address) of `nodes` at once, with that configuration and those keys."""
    environment, _ = after_setup(question.environment, question.setup)
    with tempfile.TemporaryDirectory(prefix="effnet-") as folder:
        keys, file = Path(folder, "known_hosts"), Path(folder, "ssh_config")
        keys.write_text(known_hosts)
        file.write_text(config.replace(KNOWN_HOSTS, str(keys)))
        file.chmod(0o600)

        def reach(node: tuple[str, str]) -> Peer:
            return _reach(node, file, question.mpi_daemon, environment)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return tuple(pool.map(reach, nodes))


def _reach(
    node: tuple[str, str], config: Path, daemon: str, environment: Mapping[str, str]
) -> Peer:
    name, address = node
    # What sshd's shell finds without a login is what mpirun's ssh finds.
    look = f"command -v {daemon} || echo {MISSING}" if daemon else "true"
    text, problem = output(["ssh", "-F", str(config), address, look], environment, LIMIT_S)
    if problem:
        return Peer(name, problem)
    return Peer(name, lacks_daemon=MISSING in text)
