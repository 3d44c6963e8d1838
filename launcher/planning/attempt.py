"""Plans an attempt: collects facts of the nodes, then makes the plan."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher.core.plan.cluster import master_node
from launcher.core.plan.command import run_paths
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import NodeFacts, Plan, RunContext
from launcher.core.profile.address import ip_address
from launcher.core.profile.home import is_all_here
from launcher.core.profile.model import Profile
from launcher.core.profile.placement import devices_without_ip
from launcher.ipc.operations import GetFacts, NodeAnswer
from launcher.machine import device_ips
from launcher.remote.mpirun_ssh import needs_ssh_config
from launcher.remote.node_client import NodeClient, NodePool, call_all
from launcher.store.run import StoredRun


def local_facts(profile: Profile) -> Mapping[str, NodeFacts]:
    """Facts of this machine's own nodes."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    return {
        node.label: NodeFacts(
            python=os.path.expanduser(node.python),
            cpus=cpus,
            device_ips=device_ips.read(devices_without_ip(profile, node)),
        )
        for node in profile.nodes
        if node.is_local
    }


def facts(
    profile: Profile, run: str, clients: Mapping[str, NodeClient]
) -> tuple[Mapping[str, NodeFacts], int]:
    """(facts of all nodes, the master's port; 0: to be chosen here).

    Raises `NodeError`.
    """
    address = profile.master.address or profile.nodes[0].address
    master = master_node(profile, address)

    def question(client: NodeClient) -> NodeAnswer:
        node = client.node
        wants_port = node.label == master.label and profile.master.port == 0
        where = ip_of(address) if wants_port else ""
        devices = devices_without_ip(profile, node)
        return client.call(GetFacts(node.runs_directory, where, devices, node.python))

    found = dict(local_facts(profile))
    port = profile.master.port
    for label, reply in call_all(clients, question).items():
        runs = reply.runs_directory.rstrip("/")
        found[label] = NodeFacts(
            run_directory=f"{runs}/{run}" if runs else "",
            python=reply.python,
            cpus=reply.cpus,
            device_ips=dict(reply.device_ips),
        )
        port = port or reply.port
    return found, port


def is_plannable_here(profile: Profile) -> bool:
    """Whether a plan needs nothing that only a node reached through SSH knows."""
    return not any(devices_without_ip(profile, n) for n in profile.nodes if not n.is_local)


def ip_of(address: str) -> str:
    """An address that can be bound; empty for a name, which no plan accepts."""
    return "" if ip_address(address) is None else address


def introduce(profile: Profile, nodes: NodePool) -> None:
    """Connects to every node once, before anything is written: unknown hosts are confirmed.

    Raises `NodeError`.
    """
    facts(profile, "", nodes.clients_of(profile))


def plan_attempt(
    profile: Profile,
    run: str,
    root: Path,
    attempt: int,
    *,
    resume: str = "",
    data_path: str = "",
    settings: tuple[tuple[str, str], ...] = (),
    port: int = 0,
    facts: Mapping[str, NodeFacts] | None = None,
) -> Plan:
    """The plan of one attempt; `facts`: what is known of nodes. Raises `PlanError`."""
    context = RunContext(
        run=run,
        run_directory=str(root),
        attempt=attempt,
        python=sys.executable,
        resume=resume,
        data_path=data_path,
        settings=settings,
        master_port=port,
        facts=local_facts(profile) if facts is None else facts,
    )
    if needs_ssh_config(profile):
        folder = run_paths(context, profile.nodes[0]).attempt(attempt).root
        context = replace(context, ssh_config=str(folder / "ssh_config"))
    return make_plan(profile, context)


def plan_of(
    run: StoredRun, attempt: int, resume: str, port: int, facts: Mapping[str, NodeFacts]
) -> Plan:
    """The plan of an attempt of a stored run. Raises `PlanError`."""
    return plan_attempt(
        run.profile,
        run.info.id,
        run.paths.root,
        attempt,
        resume=resume,
        data_path=run.request.data_path,
        settings=run.request.settings,
        port=port,
        facts=facts,
    )


def run_id(profile: Profile) -> str:
    """`<profile>-<YYYYMMDD>-<HHMMSS>-<4 hex digits>`, local time."""
    return f"{profile.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def settings_of(
    profile: Profile, settings: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Settings whose relative paths are absolute, as `data_path_of`: they start at the shell."""
    if not is_all_here(profile):
        return settings
    given = {**profile.trainer, **dict(settings)}
    paths = {key: str(given[key]) for key in ("weights", "eval_dataset_path") if given.get(key)}
    absolute = {key: str(Path(path).expanduser().absolute()) for key, path in paths.items()}
    return tuple({**dict(settings), **absolute}.items())


def data_path_of(profile: Profile, data_path: str) -> str:
    """Absolute: ranks have another working directory than the shell."""
    chosen = data_path or profile.data_path
    return str(Path(chosen).expanduser().absolute()) if chosen and is_all_here(profile) else chosen
