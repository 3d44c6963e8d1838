"""Files for mpirun's own ssh: from the first node to the others, with strict host keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.core.plan.model import Plan, PlannedFile
from launcher.core.profile.model import Profile, StartMethod
from launcher.core.run.paths import RunPaths
from launcher.errors import NodeError
from launcher.remote.host_keys import host_name
from launcher.remote.node_client import NodeClient


def needs_ssh_config(profile: Profile) -> bool:
    """Whether mpirun has to reach other machines."""
    others = any(not node.is_local for node in profile.nodes[1:])
    return profile.start_method is StartMethod.MPIRUN and others


def with_ssh_files(plan: Plan, profile: Profile, clients: Mapping[str, NodeClient]) -> Plan:
    """The plan with the configuration and the host keys that we have verified ourselves.

    The first node's user needs a key that the other nodes take. Raises `NodeError`.
    """
    if not needs_ssh_config(profile):
        return plan
    first = profile.nodes[0]
    root = next(node.run_directory for node in plan.nodes if node.name == first.label)
    folder = RunPaths(Path(root)).attempt(plan.attempt).root
    known = str(folder / "known_hosts")
    others = [clients[node.label] for node in profile.nodes[1:] if not node.is_local]
    config, keys = ssh_files(others, known)
    where = "" if first.is_local else first.label
    files = (
        PlannedFile((where,), str(folder / "ssh_config"), config, 0o600),
        PlannedFile((where,), known, keys, 0o600),
    )
    return replace(plan, files=(*plan.files, *files))


def ssh_files(clients: Sequence[NodeClient], known: str) -> tuple[str, str]:
    """(ssh configuration, known_hosts) of nodes; `known` is the path of the second file.

    Raises `NodeError`.
    """
    config, keys = [], ""
    for client in clients:
        node, key = client.node, client.connection().host_key()
        if key is None:
            hint = 'Use transport = "ssh" for it, or start_method = "cluster".'
            text = "mpirun needs its host key, which only paramiko can hand on"
            raise NodeError(node.label, text, hint)
        config += [f"Host {node.address}", f"    Port {node.port}"]
        config += [f"    User {node.user}"] if node.user else []
        config += [
            "    StrictHostKeyChecking yes",
            f'    UserKnownHostsFile "{known}"',
            "    GlobalKnownHostsFile /dev/null",
            "    BatchMode yes",
            "    ConnectTimeout 15",
            "",
        ]
        keys += f"{host_name(node.address, node.port)} {key.line}\n"
    return "\n".join(config), keys
