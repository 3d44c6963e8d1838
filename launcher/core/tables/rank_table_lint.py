"""Checks of a rank table that any tool may have made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.core.profile.address import ip_address
from launcher.core.profile.model import Chip
from launcher.core.tables.finding import Finding
from launcher.core.tables.rank_table import MAX_DEVICES, VERSIONS, RankTable, parse_rank_table
from launcher.core.text.numbers import whole_number
from launcher.errors import RankTableError

MAX_SERVER_ID = 63

_TEXT_KEYS = {
    "": ("version", "status", "server_count"),
    "server": ("server_id",),
    "device": ("device_id", "device_ip", "rank_id", "super_device_id"),
}


def lint_text(text: str | bytes, chip: Chip | None = None) -> tuple[Finding, ...]:
    """Findings on a rank table for ``chip``, worst first. Never raises."""
    try:
        table = parse_rank_table(text)
    except RankTableError as error:
        lines = (error.message, *error.problems)
        return (Finding("file", ": ".join(lines), error.hint),)
    findings = [*_types(json.loads(text)), *_head(table, chip), *_servers(table)]
    findings += [*_devices(table, chip), *_ranks(table), *_super_pods(table)]
    return tuple(sorted(findings, key=lambda finding: not finding.is_error))


def _types(data: Mapping[str, Any]) -> Iterator[Finding]:
    """HCCL reads only strings; merge_hccl.py writes rank_id as a number."""
    yield from _texts("", data, "")
    for index, server in enumerate(data.get("server_list", ())):
        place = f"server_list[{index}]"
        if not isinstance(server, dict):
            yield Finding(place, "expected an object")
            continue
        yield from _texts(place, server, "server")
        devices = server.get("device")
        if not isinstance(devices, list):
            yield Finding(f"{place}.device", "expected a list of devices")
            continue
        for number, device in enumerate(devices):
            inner = f"{place}.device[{number}]"
            if isinstance(device, dict):
                yield from _texts(inner, device, "device")
            else:
                yield Finding(inner, "expected an object")


def _texts(place: str, data: Mapping[str, Any], kind: str) -> Iterator[Finding]:
    for key in _TEXT_KEYS[kind]:
        if key in data and not isinstance(data[key], str):
            shown = json.dumps(data[key])
            where = f"{place}.{key}" if place else key
            yield Finding(where, f'expected a string: "{shown}" in quotes, not {shown}')


def _head(table: RankTable, chip: Chip | None) -> Iterator[Finding]:
    if table.status != "completed":
        yield Finding("status", f'expected "completed", not {table.status!r}: HCCL would wait')
    known = sorted(set(VERSIONS.values()))
    if chip is not None and chip not in VERSIONS:
        yield Finding("version", f"chip {chip.value} needs version 2.0, a different kind of file")
    elif chip is not None and table.version != VERSIONS[chip]:
        yield Finding(
            "version", f"chip {chip.value} needs {VERSIONS[chip]}, not {table.version!r} (EI0014)"
        )
    elif chip is None and table.version not in known:
        yield Finding("version", f"expected {' or '.join(known)}, not {table.version!r}")
    if table.server_count != str(len(table.servers)):
        text = f"is {table.server_count!r}, but the table has {len(table.servers)} servers"
        yield Finding("server_count", text)
    if not table.servers:
        yield Finding("server_list", "no server")


def _servers(table: RankTable) -> Iterator[Finding]:
    ids = [server.server_id for server in table.servers]
    for index, server_id in enumerate(ids):
        place = f"server_list[{index}].server_id"
        ip = ip_address(server_id)
        if not server_id:
            yield Finding(place, "is missing")
        elif len(server_id) > MAX_SERVER_ID:
            yield Finding(place, f"has {len(server_id)} characters; {MAX_SERVER_ID} are allowed")
        elif ids.index(server_id) != index:
            yield Finding(place, f"{server_id} is repeated", "one entry for each server")
        elif ip is not None and ip.is_loopback:
            hint = "often from host names that resolve to 127.0.1.1 (Debian)"
            yield Finding(
                place,
                f"{server_id}: on each machine this is the machine itself",
                hint,
                is_error=len(ids) > 1,
            )
    yield from _rank_order(table)
    counts = {len(server.devices) for server in table.servers}
    if len(counts) > 1:
        yield Finding("server_list", "servers have different numbers of devices", is_error=False)


def _rank_order(table: RankTable) -> Iterator[Finding]:
    """MindSpore's rule: rank ids follow the dictionary order of server_id."""
    firsts: dict[str, int] = {}
    for server in table.servers:
        ranks = [device.rank_id for device in server.devices]
        if not ranks or not all(rank.isascii() and rank.isdigit() for rank in ranks):
            return
        firsts[server.server_id] = min(int(rank[:9]) for rank in ranks)
    by_rank = sorted(firsts, key=lambda server_id: firsts[server_id])
    if by_rank != sorted(firsts):
        yield Finding(
            "server_list",
            f"rank ids must follow the dictionary order of server_id: {', '.join(sorted(firsts))}",
            "as strings: 10.0.0.10 comes before 10.0.0.9",
        )


def _devices(table: RankTable, chip: Chip | None) -> Iterator[Finding]:
    usual = 16 if table.version == "1.2" else 8
    limit = usual if chip is None else MAX_DEVICES.get(chip, 16)
    ips = Counter(device.device_ip for server in table.servers for device in server.devices)
    for index, server in enumerate(table.servers):
        place = f"server_list[{index}]"
        if not server.devices:
            yield Finding(place, "no device")
        if len(server.devices) > limit:
            yield Finding(
                place,
                f"{len(server.devices)} devices; a server of this version has at most {limit}",
                "16 devices: --chip 910B, or version 1.2 for A3",
            )
        ids = [device.device_id for device in server.devices]
        for number, device in enumerate(server.devices):
            inner = f"{place}.device[{number}]"
            if whole_number(device.device_id) is None:
                yield Finding(f"{inner}.device_id", f"expected a number, not {device.device_id!r}")
            elif ids.index(device.device_id) != number:
                text = f"{device.device_id} is repeated on {server.server_id} (EI0004)"
                yield Finding(f"{inner}.device_id", text)
            yield from _device_ip(f"{inner}.device_ip", device.device_ip, table, ips)
        if chip is Chip.C910 and len(ids) not in (1, 2, 4, 8):
            yield Finding(place, f"{len(ids)} devices: on a 910 use 1, 2, 4 or 8 of a server")
        elif chip is Chip.C910 and len(ids) in (2, 4) and len({i in "0123" for i in ids}) > 1:
            text = "devices 0–3 and 4–7 of a 910 are two rings: use devices of one"
            yield Finding(place, text)


def _device_ip(
    place: str, text: str, table: RankTable, ips: Mapping[str, int]
) -> Iterator[Finding]:
    several = len(table.servers) > 1
    if not text:
        hint = "see `hccn_tool -i N -ip -g` or /etc/hccn.conf"
        yield Finding(place, "is missing", hint, is_error=several)
        return
    ip = ip_address(text)
    if ip is None:
        yield Finding(place, f"expected an IP address, not {text!r}")
    elif ip.is_loopback or ip.is_unspecified:
        yield Finding(place, f"{text} cannot be a device's address")
    elif ips[text] > 1:
        yield Finding(place, f"{text} is used {ips[text]} times", "each device has its own")
    elif any(text == server.server_id for server in table.servers):
        yield Finding(place, f"{text} is a host's address, not a device's")


def _ranks(table: RankTable) -> Iterator[Finding]:
    expected = 0
    ids = [device.rank_id for server in table.servers for device in server.devices]
    for index, server in enumerate(table.servers):
        for number, device in enumerate(server.devices):
            place = f"server_list[{index}].device[{number}].rank_id"
            if whole_number(device.rank_id) is None:
                yield Finding(place, f"expected a number, not {device.rank_id!r}")
            elif ids.count(device.rank_id) > 1:
                yield Finding(place, f"{device.rank_id} is used {ids.count(device.rank_id)} times")
            elif not device.rank_id.isascii() or int(device.rank_id[:9]) >= len(ids):
                text = f"{device.rank_id}: ranks go from 0 to {len(ids) - 1} without gaps"
                yield Finding(place, text)
            elif int(device.rank_id) != expected:
                text = f"{device.rank_id}, but by its position this is rank {expected}"
                yield Finding(place, text, is_error=False)
            expected += 1


def _super_pods(table: RankTable) -> Iterator[Finding]:
    if table.version != "1.2":
        return
    known = {server.server_id for server in table.servers}
    listed = [name for _, names in table.super_pods for name in names]
    for name in sorted(known - set(listed)):
        yield Finding("super_pod_list", f"server {name} is in no super pod")
    for name in sorted(set(listed) - known):
        yield Finding("super_pod_list", f"server {name} is not in server_list")
    for index, server in enumerate(table.servers):
        for number, device in enumerate(server.devices):
            if whole_number(device.super_device_id) is None:
                place = f"server_list[{index}].device[{number}].super_device_id"
                yield Finding(place, "expected a number", "see: npu-smi info -t spod-info")
