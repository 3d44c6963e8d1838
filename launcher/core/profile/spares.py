"""A spare in the place of a node, and the profile's own nodes back in theirs."""

from __future__ import annotations

from launcher.core.profile.model import LeftOut, Node, Profile, RetryNodes


def uses_spares(profile: Profile) -> bool:
    """Whether an automatic attempt may take other nodes."""
    return profile.retry.nodes is RetryNodes.SPARE


def with_spares_as_nodes(profile: Profile) -> Profile:
    """The profile as its checks see it: a spare must pass what a node must."""
    return profile.model_copy(update={"nodes": (*profile.nodes, *profile.spares), "spares": ()})


def can_be_left_out(profile: Profile, label: str) -> bool:
    """Whether it is a node of the next attempt, and not the supervisor's own machine."""
    return any(node.label == label and not node.is_local for node in profile.nodes)


def spare_for(profile: Profile, label: str) -> Node | None:
    """The first spare with as many ranks as the node."""
    count = next((node.rank_count for node in profile.nodes if node.label == label), -1)
    return next((spare for spare in profile.spares if spare.rank_count == count), None)


def with_spare(profile: Profile, label: str, spare: Node) -> Profile:
    """The profile with `spare` in the place of the node, so that ranks keep their order.

    A master's address that was the node's is the spare's then.
    """
    old = next(node for node in profile.nodes if node.label == label)
    nodes = tuple(spare if node is old else node for node in profile.nodes)
    # What was in this place before is out already, and is replaced by the new spare now.
    moved = [
        item.model_copy(update={"spare": spare.label}) if item.spare == label else item
        for item in profile.left_out
    ]
    was_spare = any(item.spare == label for item in profile.left_out)
    moved.append(LeftOut(node=old, spare="" if was_spare else spare.label))
    return profile.model_copy(
        update={
            "nodes": nodes,
            "spares": tuple(item for item in profile.spares if item is not spare),
            "left_out": tuple(moved),
            "master": _moved_master(profile, old, spare),
        }
    )


def with_own_nodes(profile: Profile) -> Profile:
    """The profile with every node back that was left out; their spares are spares again."""
    places = {item.spare: item.node for item in profile.left_out if item.spare}
    nodes = tuple(places.get(node.label, node) for node in profile.nodes)
    free = [node for node in profile.nodes if node.label in places]
    free += [item.node for item in profile.left_out if not item.spare]
    address, master = profile.master.address, profile.master
    for spare in free:
        if address and address == spare.address and spare.label in places:
            master = master.model_copy(update={"address": places[spare.label].address})
    return profile.model_copy(
        update={
            "nodes": nodes,
            "spares": (*profile.spares, *free),
            "left_out": (),
            "master": master,
        }
    )


def _moved_master(profile: Profile, old: Node, spare: Node) -> object:
    address = profile.master.address
    known = {node.address for node in profile.nodes}
    is_of_old = address == old.address or (address not in known and old is profile.nodes[0])
    if not address or not is_of_old:
        return profile.master
    return profile.master.model_copy(update={"address": spare.address})
