"""device_ip from hccn_tool, which is faked at the executable with the vendor's output."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.core.profile.placement import devices_without_ip
from launcher.ipc.operations import GetFacts
from launcher.machine import device_ips
from launcher.node import facts
from launcher.planning import attempt

TOOL = """\
#!/bin/sh
[ "$1 $3 $4" = "-i -ip -g" ] || exit 1
case $2 in
    0) printf 'ipaddr:192.168.100.101\\nnetmask:255.255.255.0\\n' ;;
    1) printf 'ipaddr:192.168.101.101\\nnetmask:255.255.255.0\\n' ;;
    *) echo 'hccn_tool is busy, please try again' >&2; exit 1 ;;
esac
"""
PROFILE = """
name = "a"
device_target = "Ascend"
start_method = "ranktable"
[[nodes]]
address = "10.0.0.1"
transport = "local"
devices = [{ device_id = 0 }, { device_id = 1, device_ip = "192.168.9.9" }, { device_id = 2 }]
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = tmp_path / "hccn_tool"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    conf = tmp_path / "hccn.conf"
    conf.write_text("address_0=1.1.1.1\naddress_2=192.168.102.101\naddress_7=192.168.107.101\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(device_ips, "CONF", conf)
    return tmp_path


def profile(text: str = PROFILE) -> Profile:
    return load_profile(text, "a.toml")


def test_addresses_come_from_the_profile_then_hccn_tool_then_the_file(tools: Path) -> None:
    known = profile()
    assert devices_without_ip(known, known.nodes[0]) == (0, 2)
    plan = attempt.plan_attempt(known, "r", tools / "r", 1)
    table = next(file.content for file in plan.files if file.path.endswith("ranktable.json"))
    devices = json.loads(table)["server_list"][0]["device"]
    assert [device["device_ip"] for device in devices] == [
        "192.168.100.101",
        "192.168.9.9",
        "192.168.102.101",
    ]


def test_a_node_reports_the_addresses_of_its_devices(tools: Path) -> None:
    found = facts.get(GetFacts(devices=(0, 1)))
    assert found.device_ips == ((0, "192.168.100.101"), (1, "192.168.101.101"))


def test_no_node_is_queried_without_a_rank_table(monkeypatch: pytest.MonkeyPatch) -> None:
    one = PROFILE.replace("{ device_id = 0 }, ", "").replace(", { device_id = 2 }", "")
    for text in (PROFILE.replace('"ranktable"', '"cluster"'), one):
        known = profile(text)
        assert devices_without_ip(known, known.nodes[0]) == ()
    assert device_ips.read(()) == {}
    assert attempt.is_plannable_here(profile())
    far = PROFILE.replace('transport = "local"', 'transport = "ssh"')
    assert not attempt.is_plannable_here(profile(far))


def test_without_hccn_tool_and_file_there_are_no_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(device_ips, "CONF", tmp_path / "none")
    assert device_ips.read([0, 1]) == {}
