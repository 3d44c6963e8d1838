"""What a supervisor orders each node agent to start, from the plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.agent.client import LocalTransport, Transport
from launcher.core.diagnosis.hang import HangLimits
from launcher.core.plan.model import Plan, PlannedNode, PlannedProcess, Role
from launcher.core.plan.orders import Limits, NodeOrder, ProcessOrder, token_of, with_setup
from launcher.core.profile.model import Profile
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import to_plain
from launcher.remote.node_client import NodeClient
from launcher.store import log_limit
from launcher.supervisor.agent_links import AgentLink
from launcher.supervisor.ssh_transport import SshTransport


def links(plan: Plan, profile: Profile, clients: Mapping[str, NodeClient]) -> tuple[AgentLink, ...]:
    """A link for each node of the plan."""
    token = token_of(plan.run, plan.attempt)
    here = Path(plan.run_directory)
    found = []
    for node in plan.nodes:
        order = order_of(plan, profile, node)
        transport: Transport
        if node.is_local:
            transport = LocalTransport(node.name, Path(node.run_directory), plan.attempt, token)
        else:
            files = tuple((f.path, f.content, f.mode) for f in plan.files if f.node == node.name)
            folder = RunPaths(here).attempt(plan.attempt).root
            transport = SshTransport(clients[node.name], order, folder, files)
        found.append(AgentLink(transport, order))
    return tuple(found)


def order_of(plan: Plan, profile: Profile, node: PlannedNode) -> NodeOrder:
    limits = profile.limits
    return NodeOrder(
        run=plan.run,
        attempt=plan.attempt,
        node=node.name,
        token=token_of(plan.run, plan.attempt),
        root=node.run_directory,
        # Elsewhere the agent's own interpreter is the one that the profile names.
        python=sys.executable if node.is_local else "",
        device_target=plan.device_target,
        processes=tuple(process_order(process) for process in plan.on_node(node.name)),
        stop_file=str(RunPaths(Path(node.run_directory)).stop),
        limits=Limits(
            stop_save_s=limits.stop_save_s,
            term_s=limits.term_s,
            kill_s=limits.kill_s,
            spread_s=limits.spread_s,
            join_s=limits.launch_s,
            orphan_limit_s=limits.orphan_limit_s,
        ),
        hang=to_plain(HangLimits.of(limits)),
        sees_all_ranks=len(plan.nodes) == 1,
        log_limit_bytes=log_limit.bytes_of(profile),
    )


def process_order(process: PlannedProcess) -> ProcessOrder:
    is_rank = process.role is Role.RANK
    log_folder = os.path.dirname(process.log)
    return ProcessOrder(
        role=process.role.value,
        argv=with_setup(process.setup, process.argv),
        env=dict(process.environment),
        log=process.log,
        rank=process.rank if is_rank else None,
        local_rank=process.local_rank or 0,
        device=process.device_id,
        # MindSpore leaves folders wherever it runs.
        cwd=process.working_directory or log_folder,
        cpus=process.cpus,
        heartbeat=process.heartbeat or None,
        by_mpirun=not process.is_started,
    )
