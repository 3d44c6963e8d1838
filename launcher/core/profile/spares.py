"""A spare in the place of a node, or none, and the profile's own nodes back in theirs."""

from __future__ import annotations

from launcher.core.profile.model import LeftOut, Node, Profile, RetryNodes


def may_change_nodes(profile: Profile) -> bool:
    """Whether an automatic attempt may leave out nodes."""
    return profile.retry.nodes is not RetryNodes.SAME


def may_shrink(profile: Profile) -> bool:
    """Whether it may continue on one node less."""
    return profile.retry.nodes is RetryNodes.SHRINK and len(profile.nodes) > 1


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
    spares = tuple(item for item in profile.spares if item is not spare)
    changed = profile.model_copy(update={"nodes": nodes, "spares": spares})
    return _left_out(changed, profile, LeftOut(node=old, spare=spare.label), spare)


def without_node(profile: Profile, label: str) -> Profile:
    """The profile on one node less. Its ranks carry those of the node: the training is the same."""
    place = next(i for i, node in enumerate(profile.nodes) if node.label == label)
    nodes = (*profile.nodes[:place], *profile.nodes[place + 1 :])
    changed = profile.model_copy(update={"nodes": nodes})
    return _left_out(changed, profile, LeftOut(node=profile.nodes[place], place=place), nodes[0])


def _left_out(changed: Profile, before: Profile, item: LeftOut, heir: Node) -> Profile:
    """`changed`, which no longer has the node of `item`. `heir` is the master if that node was.

    Where the node was a spare, the one whose place it had is the one that is out, and it itself is
    a spare again.
    """
    old = item.node
    master = _moved_master(before, old, heir)
    kept = [one for one in before.left_out if one.spare != old.label]
    saved = "" if master is before.master else before.master.address
    owner = next((one for one in before.left_out if one.spare == old.label), None)
    if owner is not None:
        kept.append(LeftOut(node=old))
        item = item.model_copy(update={"node": owner.node})
        saved = owner.master or saved
    item = item.model_copy(update={"master": saved})
    return changed.model_copy(update={"left_out": (*kept, item), "master": master})


def with_own_nodes(profile: Profile) -> Profile:
    """The profile with every node back that was left out; their spares are spares again."""
    places = {item.spare: item.node for item in profile.left_out if item.spare}
    nodes = [places.get(node.label, node) for node in profile.nodes]
    for item in reversed(profile.left_out):
        if item.place is not None:
            nodes.insert(item.place, item.node)
    free = [node for node in profile.nodes if node.label in places]
    free += [item.node for item in profile.left_out if not item.spare and item.place is None]
    # The first that it moved from is where it was.
    address = next((item.master for item in profile.left_out if item.master), None)
    master = profile.master.model_copy(update={"address": address} if address else {})
    return profile.model_copy(
        update={
            "nodes": tuple(nodes),
            "spares": (*profile.spares, *free),
            "left_out": (),
            "master": master,
        }
    )


def _moved_master(profile: Profile, old: Node, heir: Node) -> object:
    address = profile.master.address
    known = {node.address for node in profile.nodes}
    is_of_old = address == old.address or (address not in known and old is profile.nodes[0])
    if not address or not is_of_old:
        return profile.master
    return profile.master.model_copy(update={"address": heir.address})
