"""hccn_tool and /etc/hccn.conf."""

from __future__ import annotations

from launcher.core.devices.hccn import parse_hccn_conf, parse_health, parse_tool_ip


def test_the_tool() -> None:
    assert parse_tool_ip("ipaddr:192.168.100.101\nnetmask:255.255.255.0\n") == "192.168.100.101"
    assert parse_tool_ip("hccn_tool is busy\n") is None
    assert parse_tool_ip("ipaddr:none\n") is None
    assert parse_health("net health status: Success\n") == "Success"
    assert parse_health("net health status: Socket fail\n") == "Socket fail"
    assert parse_health("") is None


def test_the_file() -> None:
    conf = parse_hccn_conf(
        "address_0=192.168.100.101\nnetmask_0=255.255.255.0\n#address_2=1.1.1.1\n"
        "address_1=192.168.101.101\naddress_1=192.168.101.102\naddress_3=x\n"
    )
    assert conf == {0: "192.168.100.101", 1: "192.168.101.102"}
