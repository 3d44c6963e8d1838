"""On which node copies of checkpoints are kept (``checkpoint.copies``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.core.profile.model import Node, Profile
from launcher.core.profile.placement import first_rank_node
from launcher.core.profile.spares_check import Problem


def copies_node(profile: Profile) -> Node | None:
    """The first other node than rank 0's, else the first spare; None where none are made."""
    if profile.checkpoint.copies < 2 or profile.checkpoint.shared:
        return None
    first = first_rank_node(profile)
    others = (node for node in (*profile.nodes, *profile.spares) if node is not first)
    return next(others, None)


def copies_text(profile: Profile) -> str:
    """For a plan: where copies are kept, or why not; empty where none are asked for."""
    if profile.checkpoint.copies < 2:
        return ""
    if profile.checkpoint.shared:
        return "no copies of checkpoints: all nodes share their folder (checkpoint.shared)"
    node = copies_node(profile)
    if node is None:
        return "no copies of checkpoints: there is no other node"
    first = first_rank_node(profile).label
    return f"checkpoints are written on {first}, and copied to {node.label} (checkpoint.copies)"


def check_copies(raw: Mapping[str, Any], node_count: int) -> Iterator[Problem]:
    """What keeps copies from being made. `node_count`: nodes and spares."""
    checkpoint = raw.get("checkpoint")
    if not isinstance(checkpoint, dict) or checkpoint.get("copies") != 2:
        return
    if raw.get("start_method") == "slurm":
        yield "checkpoint.copies", "leave it out: with Slurm all nodes share the runs folder"
    elif node_count < 2 and not checkpoint.get("shared"):
        yield "checkpoint.copies", "1: there is no other node, and no spare, for a copy"
