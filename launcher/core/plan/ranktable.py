"""Start method ``ranktable``: Ascend ranks find each other through a rank table and HCCL.

Source: MindSpore's rank_table.md, the reference's own 8-device way. There is no scheduler.
"""

from __future__ import annotations

from dataclasses import replace

from launcher.core.plan.cluster import assemble, time_limits
from launcher.core.plan.command import facts_of, rank_process, rank_variables, run_paths
from launcher.core.plan.model import Plan, RunContext, files_of
from launcher.core.profile.model import DeviceTarget, Profile
from launcher.core.profile.placement import RankPlace, place_nodes
from launcher.core.tables.rank_table import RankTable, make_rank_table
from launcher.errors import RankTableError


def plan(profile: Profile, context: RunContext) -> Plan:
    """The rank table on every node, then the ranks. Raises RankTableError."""
    places = located(profile, context)
    world_size = len(places)
    processes = tuple(
        rank_process(
            profile, context, item, world_size, environment(profile, context, item, world_size)
        )
        for item in places
    )
    bare = assemble(profile, context, processes, "", 0)
    if world_size == 1:
        return bare
    content = rank_table(profile, context).to_json()
    tables = {
        ("" if node.is_local else node.label, _table_path(profile, context, index))
        for index, node in enumerate(profile.nodes)
    }
    return replace(bare, files=(*bare.files, *files_of(sorted(tables), content)))


def rank_table(profile: Profile, context: RunContext) -> RankTable:
    """The profile's rank table, for any start method. Raises RankTableError."""
    if profile.device_target is not DeviceTarget.ASCEND:
        raise RankTableError(
            f"no rank table for {profile.device_target.value}",
            ("only HCCL reads rank tables, and HCCL is for Ascend",),
        )
    places = located(profile, context)
    ids = {
        item.rank: device.super_device_id
        for item in places
        for device in profile.nodes[item.node_index].devices
        if device.device_id == item.device_id and device.super_device_id
    }
    pods = {node.address: node.super_pod_id for node in profile.nodes if node.super_pod_id}
    return make_rank_table(places, profile.chip, ids, pods)


def located(profile: Profile, context: RunContext) -> tuple[RankPlace, ...]:
    """The ranks; device addresses that the profile lacks come from the nodes."""
    return tuple(
        item
        if item.device_ip
        else replace(
            item,
            device_ip=facts_of(context, profile.nodes[item.node_index]).device_ips.get(
                item.device_id, ""
            ),
        )
        for item in place_nodes(profile.nodes, by_server_id=True)
    )


def environment(
    profile: Profile, context: RunContext, item: RankPlace, world_size: int
) -> dict[str, str]:
    """Variables of one rank."""
    own = rank_variables(item, world_size)
    if world_size == 1:
        return own
    return {
        **own,
        "RANK_TABLE_FILE": _table_path(profile, context, item.node_index),
        **time_limits(profile),
    }


def _table_path(profile: Profile, context: RunContext, node_index: int) -> str:
    paths = run_paths(context, profile.nodes[node_index])
    return str(paths.attempt(context.attempt).rank_table)
