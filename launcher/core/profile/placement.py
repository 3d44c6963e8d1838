"""Which rank runs where: arithmetic on frozen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod


@dataclass(frozen=True)
class RankPlace:
    """Where one rank runs; ``node_index`` counts in the profile's order."""

    rank: int
    local_rank: int
    local_world_size: int
    node_index: int
    node: str
    address: str
    device_id: int
    device_ip: str


def place(profile: Profile) -> tuple[RankPlace, ...]:
    """The ranks of a profile, in order: 0 … world size − 1, once each."""
    by_server_id = profile.start_method is StartMethod.RANKTABLE
    return place_nodes(profile.nodes, by_server_id=by_server_id)


def first_rank_node(profile: Profile) -> Node:
    """The node of rank 0, which writes the checkpoints; not always the first of the profile."""
    return profile.nodes[place(profile)[0].node_index]


def place_nodes(nodes: Sequence[Node], *, by_server_id: bool = False) -> tuple[RankPlace, ...]:
    """Ranks node by node, in the given order, or in dictionary order of the address.

    MindSpore's rank_table.md: "the order of rank_id is consistent with the dictionary order of
    server_id", so 10.0.0.10 comes before 10.0.0.9. Within a node, ranks follow the device ids.
    """
    order = list(range(len(nodes)))
    if by_server_id:
        order.sort(key=lambda index: nodes[index].address)
    places: list[RankPlace] = []
    for index in order:
        node = nodes[index]
        devices = [node.device(local_rank) for local_rank in range(node.rank_count)]
        if by_server_id:
            devices.sort(key=lambda device: device.device_id)
        for local_rank, device in enumerate(devices):
            places.append(
                RankPlace(
                    rank=len(places),
                    local_rank=local_rank,
                    local_world_size=len(devices),
                    node_index=index,
                    node=node.label,
                    address=node.address,
                    device_id=device.device_id,
                    device_ip=device.device_ip,
                )
            )
    return tuple(places)


def devices_without_ip(profile: Profile, node: Node) -> tuple[int, ...]:
    """The devices of a node whose address the profile leaves open and a rank table needs."""
    is_needed = (
        profile.device_target is DeviceTarget.ASCEND
        and profile.start_method is StartMethod.RANKTABLE
        and profile.world_size > 1
    )
    return tuple(d.device_id for d in node.devices if not d.device_ip) if is_needed else ()
