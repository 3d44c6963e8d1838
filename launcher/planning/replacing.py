"""Which nodes the next automatic attempt leaves out, and the spares in their places, if any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.core.profile import spares
from launcher.core.profile.model import Profile
from launcher.core.run.events import FailureKind, NodeLeftOut, NodeReplaced
from launcher.core.run.state import AttemptState, RunState
from launcher.core.text.figures import plural

OWN_FAULTS = frozenset(
    {
        FailureKind.NODE,
        FailureKind.DEVICE,
        FailureKind.HANG,
        FailureKind.SIGNAL,
        FailureKind.OOM,
        FailureKind.DATA,
    }
)
"""Failures that another machine may not have; an exception of the program comes everywhere."""

IN_A_ROW = 2


def nodes_to_leave(profile: Profile, state: RunState) -> Mapping[str, str]:
    """Name -> why, of nodes that do not answer or failed twice in a row by their own fault.

    Empty unless the profile lets nodes change; the supervisor's own machine stays.
    """
    newest = state.attempt
    if newest is None or not spares.may_change_nodes(profile):
        return {}
    found = {node: _why_absent(newest, node) for node in newest.unreachable}
    if (node := _failed_in_a_row(state)) is not None and node not in found:
        found[node] = f"{IN_A_ROW} attempts in a row failed on it: {_meaning(newest)}"
    return {node: why for node, why in found.items() if spares.can_be_left_out(profile, node)}


def _why_absent(attempt: AttemptState, node: str) -> str:
    failure = attempt.failure
    if failure is not None and failure.node == node and failure.kind is FailureKind.NODE:
        return failure.meaning
    why = attempt.why_unreachable.get(node, "")
    return f"{node} does not answer" + (f": {why}" if why else "")


def _failed_in_a_row(state: RunState) -> str | None:
    """The node that all of the last attempts failed on."""
    failures = [attempt.failure for attempt in state.attempts[-IN_A_ROW:]]
    nodes = {
        failure.node if failure is not None and failure.kind in OWN_FAULTS else None
        for failure in failures
    }
    return nodes.pop() if len(failures) == IN_A_ROW and len(nodes) == 1 else None


def _meaning(attempt: AttemptState) -> str:
    return "" if attempt.failure is None else attempt.failure.meaning


def may_replace(profile: Profile, node: str) -> bool:
    """Whether the profile lets an attempt leave out this node."""
    return spares.may_change_nodes(profile) and spares.can_be_left_out(profile, node)


@dataclass(frozen=True)
class Nodes:
    """The nodes of the next attempt: a profile, and the changes that led to it."""

    profile: Profile
    changes: tuple[NodeReplaced | NodeLeftOut, ...] = ()

    def without(self, node: str, why: str, attempt: int, *, is_reached: bool) -> Nodes | None:
        """The same with a spare in the node's place, or on one node less; None where neither is
        possible: no spare has as many ranks, or the profile forbids it.
        """
        if not spares.can_be_left_out(self.profile, node):
            return None
        event: NodeReplaced | NodeLeftOut
        spare = spares.spare_for(self.profile, node)
        if spare is not None:
            event = NodeReplaced(attempt, node, spare.label, why, is_reached)
            profile = spares.with_spare(self.profile, node, spare)
        elif spares.may_shrink(self.profile):
            event = NodeLeftOut(attempt, node, why, is_reached)
            profile = spares.without_node(self.profile, node)
        else:
            return None
        return replace(self, profile=profile, changes=(*self.changes, event))

    @property
    def new(self) -> frozenset[str]:
        """The spares among them that no attempt has used."""
        return frozenset(e.spare for e in self.changes if isinstance(e, NodeReplaced))

    @property
    def words(self) -> str:
        """For the reason of the next attempt; empty where nothing changes."""
        used, profile = {node.label for node in self.profile.nodes}, self.profile
        words = [
            f"with {item.spare} in the place of {item.node.label}"
            for item in profile.left_out
            if item.spare in used & self.new
        ]
        if gone := [event.node for event in self.changes if isinstance(event, NodeLeftOut)]:
            ranks = plural(profile.world_size, "rank")
            words.append(f"without {' and '.join(gone)}: {ranks} instead of {profile.logical_size}")
        return ", ".join(words)


def without_all(profile: Profile, state: RunState) -> Nodes | None:
    """Without every node that must be left out; None where too few spares or nodes are there."""
    nodes: Nodes | None = Nodes(profile)
    for node, why in nodes_to_leave(profile, state).items():
        if nodes is None or state.attempt is None:
            return None
        is_reached = node not in state.attempt.unreachable
        nodes = nodes.without(node, why, state.attempt.attempt, is_reached=is_reached)
    return nodes
