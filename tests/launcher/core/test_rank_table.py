"""Rank tables: golden files, round trips, and everything that a lint must see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.profile.model import Chip, DeviceSlot, Node
from launcher.core.profile.placement import place_nodes
from launcher.core.tables.rank_table import RankTable, make_rank_table, parse_rank_table
from launcher.core.tables.rank_table_lint import lint_text
from launcher.errors import RankTableError

GOLDEN = Path(__file__).parent.parent / "golden"


def nodes_of(servers: int, devices: int) -> tuple[Node, ...]:
    return tuple(
        Node(
            address=f"10.0.0.{server + 1}",
            devices=tuple(
                DeviceSlot(
                    device_id=device,
                    device_ip=f"192.168.{100 + device}.{server + 1}",
                    super_device_id=str(server * devices + device),
                )
                for device in range(devices)
            ),
        )
        for server in range(servers)
    )


def table_of(nodes: tuple[Node, ...], chip: Chip = Chip.C910) -> RankTable:
    places = place_nodes(nodes, by_server_id=True)
    ids = {item.rank: str(item.rank) for item in places}
    return make_rank_table(places, chip, ids)


@pytest.mark.parametrize(
    ("name", "servers", "devices", "chip"),
    [
        ("ranktable-910-1x8.json", 1, 8, Chip.C910),
        ("ranktable-910-2x8.json", 2, 8, Chip.C910),
        ("ranktable-910B-4x16.json", 4, 16, Chip.C910B),
        ("ranktable-A3-4x16.json", 4, 16, Chip.A3),
    ],
)
def test_golden_files(name: str, servers: int, devices: int, chip: Chip) -> None:
    table = table_of(nodes_of(servers, devices), chip)
    assert table.to_json() == (GOLDEN / name).read_text()
    assert parse_rank_table(table.to_json()) == table
    assert lint_text(table.to_json(), chip) == ()


def test_sixteen_devices_are_refused_on_910() -> None:
    with pytest.raises(RankTableError) as caught:
        table_of(nodes_of(4, 16), Chip.C910)
    assert len(caught.value.problems) == 4
    assert "16 devices; a server of chip 910 has at most 8" in caught.value.problems[0]


def test_a_chip_of_another_kind_of_table_is_refused() -> None:
    with pytest.raises(RankTableError, match="no rank table for chip 950"):
        table_of(nodes_of(1, 8), Chip.C950)


def test_several_servers_need_device_addresses() -> None:
    devices = tuple(DeviceSlot(device_id=index) for index in range(2))
    bare = tuple(Node(address=f"10.0.0.{last}", devices=devices) for last in (1, 2))
    with pytest.raises(RankTableError) as caught:
        table_of(bare)
    assert len(caught.value.problems) == 4
    single = table_of(bare[:1])
    assert "device_ip" not in single.to_json()
    assert all(not finding.is_error for finding in lint_text(single.to_json(), Chip.C910))


@given(
    st.lists(st.integers(1, 250), min_size=1, max_size=5, unique=True),
    st.sampled_from([1, 2, 4, 8]),
)
def test_tables_that_we_make_are_clean_and_come_back(hosts: list[int], devices: int) -> None:
    nodes = tuple(
        Node(
            address=f"10.0.0.{host}",
            devices=tuple(
                DeviceSlot(device_id=index, device_ip=f"192.168.{index}.{host}")
                for index in range(devices)
            ),
        )
        for host in hosts
    )
    table = table_of(nodes)
    assert parse_rank_table(table.to_json()) == table
    assert lint_text(table.to_json(), Chip.C910) == ()
    assert table.world_size == len(hosts) * devices
    for value in _leaves(json.loads(table.to_json())):
        assert isinstance(value, str)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads(table_of(nodes_of(2, 8)).to_json())
    change(data)
    return "\n".join(map(str, lint_text(json.dumps(data), Chip.C910)))


def server(data: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = data["server_list"][index]
    return found


def device(data: dict[str, Any], index: int, number: int) -> dict[str, Any]:
    found: dict[str, Any] = server(data, index)["device"][number]
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: device(d, 0, 1).update(device_ip="192.168.100.1"), "is used 2 times"),
        (lambda d: device(d, 0, 1).pop("device_ip"), "device_ip: is missing"),
        (lambda d: device(d, 0, 1).update(device_ip="nowhere"), "expected an IP address"),
        (lambda d: device(d, 0, 1).update(device_ip="10.0.0.2"), "is a host's address"),
        (lambda d: device(d, 0, 1).update(device_id="0"), "is repeated on 10.0.0.1 (EI0004)"),
        (lambda d: server(d, 0).update(server_id="127.0.1.1"), "on each machine"),
        (lambda d: server(d, 0).update(server_id="10.0.0.2"), "is repeated"),
        (lambda d: server(d, 0).update(server_id="x" * 64), "64 characters; 63 are allowed"),
        (lambda d: server(d, 0).update(server_id="10.0.0.9"), "dictionary order of server_id"),
        (lambda d: device(d, 1, 0).update(rank_id=8), '"8" in quotes, not 8'),
        (lambda d: d.update(server_count=2), '"2" in quotes, not 2'),
        (lambda d: d.update(server_count="3"), "the table has 2 servers"),
        (lambda d: device(d, 1, 7).update(rank_id="16"), "ranks go from 0 to 15 without gaps"),
        (lambda d: device(d, 1, 7).update(rank_id="3"), "3 is used 2 times"),
        (lambda d: d.update(version="1.2"), "chip 910 needs 1.0"),
        (lambda d: d.update(status="initializing"), "HCCL would wait"),
        (lambda d: server(d, 0)["device"].append({"device_id": "8"}), "9 devices"),
        (lambda d: server(d, 0).update(device=[]), "no device"),
        (lambda d: server(d, 0).update(device=server(d, 0)["device"][:3]), "1, 2, 4 or 8"),
        (
            lambda d: server(d, 0).update(device=server(d, 0)["device"][2:6]),
            "two rings",
        ),
        (lambda d: server(d, 0).pop("device"), "expected a list of devices"),
    ],
)
def test_findings_of_the_lint(change: Callable[[dict[str, Any]], object], expected: str) -> None:
    found = broken(change)
    assert expected in found
    assert "error" in found


def test_more_than_eight_devices_without_a_chip() -> None:
    text = table_of(nodes_of(1, 16), Chip.C910B).to_json()
    assert "16 devices; a server of this version has at most 8" in str(lint_text(text)[0])
    assert lint_text(text, Chip.C910B) == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "version",
                    "server_list",
                    "device",
                    "server_id",
                    "rank_id",
                    "device_id",
                    "device_ip",
                ]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(_JSON | st.fixed_dictionaries({"server_list": st.lists(_JSON, max_size=3)}))
def test_json_of_any_shape_never_raises(data: object) -> None:
    assert lint_text(json.dumps(data)) != ()


def test_the_order_of_servers_in_the_file_is_only_a_warning() -> None:
    data = json.loads(table_of(nodes_of(2, 8)).to_json())
    data["server_list"].reverse()
    findings = lint_text(json.dumps(data), Chip.C910)
    assert findings
    assert not any(finding.is_error for finding in findings)
