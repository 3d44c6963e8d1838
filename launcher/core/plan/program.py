"""A training script of the user's own: where it starts, its command and its variables."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.core.plan.model import RunContext
from launcher.core.profile.home import login_node
from launcher.core.profile.model import Node, Profile, RetryNodes
from launcher.core.profile.placement import RankPlace
from launcher.core.profile.program import Program
from launcher.errors import UsageError

RESUME = "EFFNET_RESUME"
CHECKPOINT = "{checkpoint}"
"""Stands for the checkpoint's path in a ``resume_command``."""
FOUND_BY_ITSELF = "auto"
"""Instead of a path: the ``resume_command`` finds the checkpoint itself."""


def with_command(profile: Profile, command: Sequence[str]) -> Profile:
    """The profile with another command for its ranks; what is for the bundled trainer goes.

    Raises `UsageError` where only the bundled trainer can do what the profile asks for.
    """
    if not command:
        return profile
    if profile.retry.nodes is RetryNodes.SHRINK:
        raise UsageError(
            f'profile {profile.name} has retry.nodes = "shrink", and only the bundled trainer can'
            " train the same with fewer ranks",
            'Set retry.nodes to "same" or "spare" in the profile.',
        )
    program = profile.program or Program(command=tuple(command))
    nodes = tuple(node.model_copy(update={"data_path": ""}) for node in profile.nodes)
    program = program.model_copy(update={"command": tuple(command)})
    changes = {"program": program, "nodes": nodes, "trainer": {}, "data_path": ""}
    return profile.model_copy(update=changes)


def placed(profile: Profile, folder: str) -> Profile:
    """Each node with a working directory: on this machine ``folder``, elsewhere the home."""
    if profile.program is None:
        return profile
    if login_node(profile) is not None:
        folder = "~"  # Slurm's nodes do not have the folders of this machine
    nodes = tuple(
        node.model_copy(
            update={
                "working_directory": node.working_directory or (folder if node.is_local else "~")
            }
        )
        for node in profile.nodes
    )
    return profile.model_copy(update={"nodes": nodes})


def edited(profile: Profile, before: Profile, command: Sequence[str]) -> Profile:
    """A resume's profile, with the command of the start, in the folder where that began."""
    folders = (node.working_directory for node in before.nodes if node.is_local)
    return placed(with_command(profile, command), next(folders, "~"))


def argv(program: Program, context: RunContext, node: Node) -> tuple[str, ...]:
    """The command of each rank. ``python`` is the node's, where its profile names one."""
    words = program.command
    if context.resume and program.resume_command:
        path = "" if context.resume == FOUND_BY_ITSELF else context.resume
        words = tuple(word.replace(CHECKPOINT, path) for word in program.resume_command)
    if words[0] == "python" and node.python:
        return (node.python, *words[1:])
    return words


def environment(context: RunContext) -> dict[str, str]:
    """The checkpoint to continue from, where there is one."""
    if context.resume in ("", FOUND_BY_ITSELF):
        return {}
    return {RESUME: context.resume}


def is_torch(profile: Profile) -> bool:
    """Whether the ranks get PyTorch's variables, and not MindSpore's."""
    return profile.program is not None and profile.program.is_torch


def torch_variables(place: RankPlace, world_size: int, address: str, port: int) -> dict[str, str]:
    """What torchrun sets and ``init_process_group`` reads (``env://``).

    Source: the environment variables in PyTorch's torchrun documentation.
    """
    return {
        "RANK": str(place.rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(place.local_rank),
        "LOCAL_WORLD_SIZE": str(place.local_world_size),
        "GROUP_RANK": str(place.node_index),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
