"""Start method ``cluster``: MindSpore's dynamic cluster, with the environment that msrun sets.

Source: MindSpore's msrun_launcher.md and dynamic_cluster.md. Our scheduler imports as little as
possible; msrun's imports the whole training script.
"""

from __future__ import annotations

from pathlib import Path

from launcher import programs
from launcher.core.plan import forks
from launcher.core.plan.command import (
    config_files,
    node_environment,
    planned_nodes,
    python_of,
    rank_process,
    rank_variables,
    run_paths,
)
from launcher.core.plan.model import Plan, PlannedProcess, Role, RunContext
from launcher.core.plan.program import is_torch, torch_variables
from launcher.core.profile.address import ip_address, is_loopback
from launcher.core.profile.check import SLURM_NODE
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod
from launcher.core.profile.placement import RankPlace, place
from launcher.core.run.paths import RunPaths
from launcher.errors import PlanError


def plan(profile: Profile, context: RunContext) -> Plan:
    """The scheduler, then the ranks; one rank, or PyTorch's, need no cluster. Raises PlanError."""
    places = place(profile)
    world_size = len(places)
    address, port = master(profile, context)
    is_cluster = needs_scheduler(profile)
    shared = cluster_environment(profile, world_size, address, port) if is_cluster else {}
    is_ascend = profile.device_target is DeviceTarget.ASCEND
    hccl_limits = time_limits(profile) if is_ascend else {}
    processes: list[PlannedProcess] = []
    if is_cluster:
        processes.append(scheduler_process(profile, context, shared))
    for item in places:
        own = {"DEVICE_ID": str(item.device_id)}
        if is_torch(profile):
            own = torch_variables(item, world_size, address, port)
        elif is_cluster:
            own = {**shared, **rank_identity(item, world_size), **hccl_limits}
        processes.append(rank_process(profile, context, item, world_size, own))
    return assemble(profile, context, tuple(processes), address, port)


def needs_scheduler(profile: Profile) -> bool:
    """Whether MindSpore's dynamic cluster brings the ranks together."""
    if profile.world_size == 1 or is_torch(profile):
        return False
    mpirun = profile.start_method is StartMethod.MPIRUN
    return profile.start_method in (StartMethod.CLUSTER, StartMethod.SLURM) or (
        mpirun and profile.device_target is DeviceTarget.CPU
    )


def assemble(
    profile: Profile,
    context: RunContext,
    processes: tuple[PlannedProcess, ...],
    address: str,
    port: int,
) -> Plan:
    """The plan with these processes."""
    root = RunPaths(Path(context.run_directory))
    return Plan(
        run=context.run,
        attempt=context.attempt,
        profile=profile.name,
        device_target=profile.device_target.value,
        start_method=profile.start_method.value,
        world_size=profile.world_size,
        run_directory=context.run_directory,
        stop_file=str(root.stop),
        master_address=address,
        master_port=port,
        nodes=planned_nodes(profile, context),
        files=config_files(profile, context),
        processes=processes,
        limits=profile.limits,
        log_limit_bytes=profile.logs.limit_bytes,
        log_pattern="" if profile.program is None else profile.program.log_pattern,
        keep_warm_s=forks.keep_warm_s(profile),
    )


def master(profile: Profile, context: RunContext) -> tuple[str, int]:
    """Address and port of the scheduler; port 0 is still to be chosen. Raises PlanError.

    The address must be an IP: with a host name MindSpore's ``init()`` retries in silence until its
    limit.
    """
    address = context.master_address or profile.master.address or profile.nodes[0].address
    if address == "localhost":
        address = "127.0.0.1"
    if profile.start_method is StartMethod.SLURM and address.startswith(SLURM_NODE):
        return address, profile.master.port  # the batch script knows the nodes
    if ip_address(address) is None:
        raise PlanError(
            f"the master address must be an IP address, and {address!r} is a name",
            "set master.address in the profile",
        )
    if is_loopback(address) and len(profile.nodes) > 1:
        raise PlanError(
            f"the other nodes can't reach the master at {address}",
            "set master.address to an address that all nodes reach",
        )
    return address, context.master_port or profile.master.port


def master_node(profile: Profile, address: str) -> Node:
    """The node that the scheduler runs on: the one with that address, else the first."""
    return next((node for node in profile.nodes if node.address == address), profile.nodes[0])


def cluster_environment(
    profile: Profile, world_size: int, address: str, port: int
) -> dict[str, str]:
    """Variables that scheduler and ranks share.

    MindSpore's limits are set high: the launcher notices deaths at once, and a rank that compiles
    for 40 s must not end the run. A rank that waits for a peer's data retries after 1 s, not after
    3 to 5; the time to find a lost scheduler again is unchanged (21 s measured).
    """
    node_timeout_s = str(int(profile.limits.node_timeout_s))
    return {
        "MS_SCHED_HOST": address,
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_NUM": str(world_size),
        "MS_TOPO_TIMEOUT": str(int(profile.limits.launch_s)),
        "MS_NODE_TIMEOUT": node_timeout_s,
        "MS_RECEIVE_MSG_TIMEOUT": node_timeout_s,
        "MS_RETRY_INTERVAL_LOWER": "1",
        "MS_RETRY_INTERVAL_UPPER": "1",
        "RANK_SIZE": str(world_size),
    }


def rank_identity(item: RankPlace, world_size: int) -> dict[str, str]:
    """Variables that differ between ranks; an integer node id fixes the rank."""
    return {
        "MS_ROLE": "MS_WORKER",
        "MS_NODE_ID": str(item.rank),
        **rank_variables(item, world_size),
    }


def scheduler_process(
    profile: Profile, context: RunContext, shared: dict[str, str]
) -> PlannedProcess:
    """The cluster's scheduler, on the master's node."""
    node = master_node(profile, shared["MS_SCHED_HOST"])
    threads = {"OMP_NUM_THREADS": "1"} if profile.device_target is DeviceTarget.CPU else {}
    return PlannedProcess(
        role=Role.SCHEDULER,
        node=node.label,
        argv=(python_of(context, node), "-m", programs.SCHEDULER),
        environment={
            **threads,
            **node_environment(profile, node),
            **shared,
            "MS_ROLE": "MS_SCHED",
            "MS_NODE_ID": "sched",
        },
        log=str(run_paths(context, node).attempt(context.attempt).scheduler_log),
        working_directory=node.working_directory,
        setup=node.setup,
    )


CONNECT_LIMITS_S = (120, 7200)
"""The range of HCCL_CONNECT_TIMEOUT."""

MAX_EXEC_S = 17_340
"""The maximum of HCCL_EXEC_TIMEOUT on 910: 255 × 68 s."""


def time_limits(profile: Profile) -> dict[str, str]:
    """How long ranks wait for each other when they connect, and within a step."""
    low_s, high_s = CONNECT_LIMITS_S
    connect_s = min(max(int(profile.limits.launch_s), low_s), high_s)
    exec_s = min(int(profile.limits.node_timeout_s), MAX_EXEC_S)
    return {"HCCL_CONNECT_TIMEOUT": str(connect_s), "HCCL_EXEC_TIMEOUT": str(exec_s)}
