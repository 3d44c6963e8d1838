"""The machine that the runs of a profile live on: this one, their first node, or a login node."""

from __future__ import annotations

from launcher.core.profile.model import Node, Profile


def home_of(profile: Profile) -> Node | None:
    """The node that a run is delegated to; None for this machine.

    Its run directory and, unless Slurm starts that on a node of the job, its supervisor are there.
    """
    if (login := login_node(profile)) is not None:
        return login
    is_first = profile.supervisor == "first-node" and not profile.nodes[0].is_local
    return profile.nodes[0] if is_first else None


def login_node(profile: Profile) -> Node | None:
    """Where Slurm's jobs are submitted; None for this machine, and without Slurm."""
    node = profile.slurm.login_node
    return None if node is None or node.is_local else node


def is_elsewhere(profile: Profile) -> bool:
    """Whether its runs are delegated to another machine than this one."""
    return home_of(profile) is not None


def is_all_here(profile: Profile) -> bool:
    """Whether no other machine is reached for its runs: its paths are paths of this one."""
    return all(node.is_local for node in profile.nodes) and not is_elsewhere(profile)


def at_home(profile: Profile) -> Profile:
    """The profile as the machine that its runs are delegated to sees it."""
    return _seen(profile, "local", "here")


def from_outside(profile: Profile, transport: str) -> Profile:
    """The profile of a delegated run, as who started it and reaches its machine so sees it."""
    return _seen(profile, transport, "first-node")


def _seen(profile: Profile, transport: str, supervisor: str) -> Profile:
    if (login := profile.slurm.login_node) is not None:
        login = login.model_copy(update={"transport": transport})
        slurm = profile.slurm.model_copy(update={"login_node": login})
        return profile.model_copy(update={"slurm": slurm})
    first = profile.nodes[0].model_copy(update={"transport": transport})
    nodes = (first, *profile.nodes[1:])
    return profile.model_copy(update={"nodes": nodes, "supervisor": supervisor})
