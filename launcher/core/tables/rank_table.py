"""Rank tables: they list the devices of a run for HCCL (docs/reference/rank-tables.md).

Version 1.0 is for Atlas training products (910) and Atlas A2 (910B), 1.2 for Atlas A3 in a
SuperPoD. Every value is a JSON string. Sources: CANN's HCCL user guide, "Rank Table Configuration";
MindSpore's rank_table.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.core.profile.model import Chip
from launcher.core.profile.placement import RankPlace
from launcher.errors import RankTableError

VERSIONS: Mapping[Chip, str] = {Chip.C910: "1.0", Chip.C910B: "1.0", Chip.A3: "1.2"}
"""The version of each chip's table; Atlas 950 needs 2.0, a different kind of file."""

_MAKE = "write one with `effnet-launch ranktable make PROFILE`"
OTHER_KINDS: tuple[tuple[Callable[[Mapping[str, Any]], bool], str, str], ...] = (
    (
        lambda data: "rank_list" in data or _text(data.get("version")) == "2.0",
        "this is a rank table of version 2.0, for Atlas 950; the launcher reads 1.0 and 1.2",
        'for Atlas 950 set start_method = "cluster"; for 910, 910B and A3 ' + _MAKE,
    ),
    (
        lambda data: bool({"group_list", "para_plane_nic_location", "deploy_mode"} & set(data)),
        "this is a rank table of the old template (group_list, as ModelArts writes it)",
        _MAKE + ": current HCCL reads versions 1.0 and 1.2",
    ),
    (
        lambda data: _text(data.get("status")) in ("initializing", "processing"),
        "this rank table is not complete yet: its status is not `completed`",
        "wait until the device plugin of the cluster has written the servers",
    ),
    (
        lambda data: bool({"node_list", "super_node_list", "topo_list"} & set(data)),
        "this file describes nodes or a topology, not a rank table",
        _MAKE,
    ),
    (
        lambda data: bool({"devices", "instance_list"} & set(data)),
        "this is one instance of a rank table, not the whole table",
        _MAKE,
    ),
)
"""Files of other kinds: how each is recognised, what it is, what to do."""

DEVICE_KEYS = ("device_id", "super_device_id", "device_ip", "rank_id")
"""HCCL's keys of a device, in the order in which they are written."""

MAX_DEVICES: Mapping[Chip, int] = {Chip.C910: 8, Chip.C910B: 16, Chip.A3: 16}
"""Devices of one server: 910 has 8, 910B 8 or (two modules) 16, A3 8 chips of 2 dies each."""


@dataclass(frozen=True)
class TableDevice:
    """One device, with HCCL's names; all are strings, empty where the key is missing."""

    device_id: str
    device_ip: str
    rank_id: str
    super_device_id: str = ""


@dataclass(frozen=True)
class TableServer:
    """One server and its devices."""

    server_id: str
    devices: tuple[TableDevice, ...]
    host_ip: str = ""


@dataclass(frozen=True)
class RankTable:
    """A whole rank table, in the order of its file; ``super_pods`` are ids and their servers."""

    version: str
    servers: tuple[TableServer, ...]
    status: str = "completed"
    server_count: str = ""
    super_pods: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def world_size(self) -> int:
        return sum(len(server.devices) for server in self.servers)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(_plain(self), indent=2) + "\n"


def make_rank_table(
    places: Sequence[RankPlace],
    chip: Chip,
    super_device_ids: Mapping[int, str] | None = None,
    super_pods: Mapping[str, str] | None = None,
) -> RankTable:
    """The table of placed ranks. Raises RankTableError with all problems.

    ``places`` are in dictionary order of the address, as :func:`placement.place` returns them.
    For an A3: ``super_device_ids`` by rank, ``super_pods`` by address.
    """
    version = VERSIONS.get(chip)
    if version is None:
        raise RankTableError(
            f"no rank table for chip {chip.value}",
            ("it needs version 2.0, which the vendor's tools write from the topology",),
            'use start_method = "cluster"',
        )
    sdids = super_device_ids or {}
    pods = super_pods or {}
    problems = _missing(places, chip, sdids)
    if problems:
        raise RankTableError(f"a rank table {version} cannot be made", problems)
    by_address: dict[str, list[RankPlace]] = {}
    for place in places:
        by_address.setdefault(place.address, []).append(place)
    servers = tuple(
        TableServer(
            server_id=address,
            host_ip=address if chip is Chip.A3 else "",
            devices=tuple(
                TableDevice(
                    device_id=str(place.device_id),
                    device_ip=place.device_ip,
                    rank_id=str(place.rank),
                    super_device_id=sdids.get(place.rank, "") if chip is Chip.A3 else "",
                )
                for place in own
            ),
        )
        for address, own in by_address.items()
    )
    return RankTable(
        version=version,
        servers=servers,
        server_count=str(len(servers)),
        super_pods=_pods(list(by_address), pods) if chip is Chip.A3 else (),
    )


def parse_rank_table(text: str | bytes) -> RankTable:
    """The rank table in a file; values that are not strings become their JSON text.

    Raises RankTableError if it is not a rank table; :func:`lint_text` finds smaller problems.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RankTableError("the rank table is not JSON", (str(error),)) from None
    servers = data.get("server_list") if isinstance(data, dict) else None
    if not isinstance(servers, list) and isinstance(data, dict):
        for is_kind, message, hint in OTHER_KINDS:
            if is_kind(data):
                raise RankTableError(message, (), hint)
    if not isinstance(servers, list):
        raise RankTableError("this is not a rank table", ("server_list: expected a list",))
    return RankTable(
        version=_text(data.get("version")),
        status=_text(data.get("status")),
        server_count=_text(data.get("server_count")),
        servers=tuple(_server(item) for item in servers),
        super_pods=tuple(_pod(item) for item in _list(data.get("super_pod_list"))),
    )


def _missing(places: Sequence[RankPlace], chip: Chip, sdids: Mapping[int, str]) -> tuple[str, ...]:
    problems = []
    servers = Counter(place.address for place in places)
    for address, count in sorted(servers.items()):
        if count > MAX_DEVICES[chip]:
            problems.append(
                f"{address}: {count} devices; a server of chip {chip.value} has at most"
                f" {MAX_DEVICES[chip]}"
            )
    for place in places:
        if not place.device_ip and (len(servers) > 1 or chip is Chip.A3):
            problems.append(f"{place.node}: device {place.device_id} has no device_ip")
        if chip is Chip.A3 and not sdids.get(place.rank):
            problems.append(f"{place.node}: device {place.device_id} has no super_device_id")
    return tuple(problems)


def _pods(
    addresses: Sequence[str], pods: Mapping[str, str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    ids = list(dict.fromkeys(pods.get(address, "0") for address in addresses))
    return tuple(
        (pod, tuple(address for address in addresses if pods.get(address, "0") == pod))
        for pod in ids
    )


def _plain(table: RankTable) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "version": table.version,
        "server_count": table.server_count,
        "server_list": [_plain_server(server) for server in table.servers],
        "status": table.status,
    }
    if table.super_pods:
        plain["super_pod_list"] = [
            {"super_pod_id": pod, "server_list": [{"server_id": name} for name in names]}
            for pod, names in table.super_pods
        ]
    return plain


def _plain_server(server: TableServer) -> dict[str, Any]:
    devices = [
        {key: value for key in DEVICE_KEYS if (value := getattr(device, key))}
        for device in server.devices
    ]
    head = {"server_id": server.server_id}
    if server.host_ip:
        return {**head, "host_ip": server.host_ip, "device": devices}
    # MindSpore's own tool writes this key too.
    return {**head, "device": devices, "host_nic_ip": "reserve"}


def _server(item: Any) -> TableServer:
    data = item if isinstance(item, dict) else {}
    return TableServer(
        server_id=_text(data.get("server_id")),
        host_ip=_text(data.get("host_ip")),
        devices=tuple(_device(device) for device in _list(data.get("device"))),
    )


def _device(item: Any) -> TableDevice:
    data = item if isinstance(item, dict) else {}
    return TableDevice(**{key: _text(data.get(key)) for key in DEVICE_KEYS})


def _pod(item: Any) -> tuple[str, tuple[str, ...]]:
    data = item if isinstance(item, dict) else {}
    servers = _list(data.get("server_list"))
    names = tuple(_text(server.get("server_id")) for server in servers if isinstance(server, dict))
    return _text(data.get("super_pod_id")), names


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
