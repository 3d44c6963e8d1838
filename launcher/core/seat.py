"""Which machine a profile is read on, when its supervisor runs on the first node.

There the first node is the machine itself, and there is nothing special about the run any more.
"""

from __future__ import annotations

from launcher.core.profile import Profile


def is_elsewhere(profile: Profile) -> bool:
    """Whether its supervisor belongs on another machine than this one."""
    return profile.supervisor == "first-node" and not profile.nodes[0].is_local


def on_first_node(profile: Profile) -> Profile:
    """The profile as the first node sees it."""
    return _seen(profile, "local", "here")


def from_outside(profile: Profile) -> Profile:
    """The profile of a run on a first node, as who started it sees it."""
    return _seen(profile, "ssh", "first-node")


def _seen(profile: Profile, transport: str, supervisor: str) -> Profile:
    first = profile.nodes[0].model_copy(update={"transport": transport})
    nodes = (first, *profile.nodes[1:])
    return profile.model_copy(update={"nodes": nodes, "supervisor": supervisor})
