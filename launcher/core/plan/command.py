"""The parts that a rank's command has under every start method."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from launcher import programs
from launcher.core.plan import cpu, forks, logical, program
from launcher.core.plan.model import (
    NodeFacts,
    PlannedFile,
    PlannedNode,
    PlannedProcess,
    Role,
    RunContext,
    files_of,
)
from launcher.core.profile.address import parse_cpus
from launcher.core.profile.model import Node, Profile
from launcher.core.profile.placement import RankPlace
from launcher.core.run.paths import RunPaths
from launcher.core.text.toml import to_toml


def facts_of(context: RunContext, node: Node) -> NodeFacts:
    """What is known of a node; empty for a node that was not queried."""
    return context.facts.get(node.label, NodeFacts())


def run_paths(context: RunContext, node: Node) -> RunPaths:
    """The run directory as the node itself names it."""
    directory = facts_of(context, node).run_directory
    if not directory and not node.is_local and node.runs_directory:
        directory = f"{node.runs_directory.rstrip('/')}/{context.run}"
    return _paths(directory or context.run_directory)


@functools.lru_cache(maxsize=64)
def _paths(directory: str) -> RunPaths:
    """The same for all ranks of a node: a thousand nodes have many paths."""
    return RunPaths(Path(directory))


def python_of(context: RunContext, node: Node) -> str:
    """The interpreter of a node."""
    fallback = context.python if node.is_local else "python3"
    return facts_of(context, node).python or node.python or fallback


def node_environment(profile: Profile, node: Node) -> dict[str, str]:
    """The profile's variables for a node; logs must not wait in a buffer."""
    return {"PYTHONUNBUFFERED": "1", **profile.environment, **node.environment}


def planned_nodes(profile: Profile, context: RunContext) -> tuple[PlannedNode, ...]:
    """The plan's nodes, in the profile's order."""
    return tuple(
        PlannedNode(
            name=node.label,
            address=node.address,
            is_local=node.is_local,
            run_directory=str(run_paths(context, node).root),
            rank_count=node.rank_count,
        )
        for node in profile.nodes
    )


def config_files(profile: Profile, context: RunContext) -> tuple[PlannedFile, ...]:
    """``config.toml`` where ranks read it: on each node, once for each folder."""
    if profile.program is not None:
        return ()
    head = f"# The training configuration of profile {profile.name}, as its ranks get it.\n"
    content = head + to_toml(profile.trainer)
    placed = [("", str(RunPaths(Path(context.run_directory)).config))]
    placed += [
        (node.label, str(run_paths(context, node).config))
        for node in profile.nodes
        if not node.is_local
    ]
    return files_of(placed, content)


def trainer_argv(
    profile: Profile, context: RunContext, node: Node, world_size: int
) -> tuple[str, ...]:
    """``python -m effnet train …`` for one rank."""
    paths = run_paths(context, node)
    argv = [python_of(context, node), "-m", programs.TRAINER, "train"]
    argv += ["--profile_config" if profile.is_shipped else "--config", str(paths.config)]
    argv += ["--save_checkpoint_path", profile.checkpoint.directory or str(paths.checkpoint)]
    argv += ["--run_distribute", str(world_size > 1)]
    argv += ["--device_target", profile.device_target.value]
    data_path = context.data_path or node.data_path or profile.data_path
    if data_path:
        argv += ["--dataset_path", data_path]
    if context.resume:
        argv += ["--resume", context.resume]
    for key, value in context.settings:
        argv += ["--set", f"{key}={value}"]
    return tuple(argv)


def rank_variables(item: RankPlace, world_size: int) -> dict[str, str]:
    """The variables of a rank under every start method."""
    return {
        "RANK_ID": str(item.rank),
        "RANK_SIZE": str(world_size),
        "DEVICE_ID": str(item.device_id),
    }


def rank_process(
    profile: Profile,
    context: RunContext,
    place: RankPlace,
    world_size: int,
    environment: Mapping[str, str],
) -> PlannedProcess:
    """One rank; ``environment`` is what its start method adds to the profile's."""
    node = profile.nodes[place.node_index]
    paths = run_paths(context, node)
    files = paths.attempt(context.attempt).rank(place.rank)
    cpus = parse_cpus(node.cpus) or facts_of(context, node).cpus
    share = cpu.cpu_share(place.local_rank, place.local_world_size, cpus)
    own = profile.program
    argv = trainer_argv(profile, context, node, world_size)
    if own is not None:
        environment = {**environment, **program.environment(context)}
        argv = program.argv(own, context, node)
    return PlannedProcess(
        role=Role.RANK,
        node=node.label,
        argv=argv,
        environment={
            **cpu.rank_environment(profile.device_target, len(share)),
            **node_environment(profile, node),
            **environment,
            **logical.variables(profile, place.rank, world_size),
            "EFFNET_HEARTBEAT": str(files.heartbeat),
            "EFFNET_STACKS": str(files.stacks),
            "EFFNET_STOP_FILE": str(paths.stop),
        },
        log=str(files.log),
        working_directory=node.working_directory,
        cpus=share,
        rank=place.rank,
        local_rank=place.local_rank,
        device_id=place.device_id,
        heartbeat=str(files.heartbeat),
        setup=node.setup,
        is_own=own is None,
        is_forked=forks.may_fork(profile, node),
    )
