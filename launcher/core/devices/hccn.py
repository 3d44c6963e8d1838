"""What Ascend's network tool and its file say about devices.

Sources: ``hccn_tool -i N -ip -g`` prints ``ipaddr:…`` and ``netmask:…``; ``-net_health -g`` prints
``net health status: Success``, ``-link -g`` ``link status: UP``; ``/etc/hccn.conf`` holds lines
``address_N=…``. The tool counts: the file can be stale.
"""

from __future__ import annotations

import re

from launcher.core.profile.model import ip_address

_TOOL_IP = re.compile(r"^\s*ipaddr\s*:\s*(\S+)\s*$", re.MULTILINE)
_HEALTH = re.compile(r"^\s*net health status\s*:\s*(\S[^\n]*?)\s*$", re.MULTILINE | re.IGNORECASE)
_LINK = re.compile(r"^\s*link status\s*:\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)
_CONF = re.compile(r"^\s*address_(\d{1,3})\s*=\s*(\S+)\s*$", re.MULTILINE | re.ASCII)


def parse_tool_ip(text: str) -> str | None:
    """The address in the output of ``hccn_tool -i N -ip -g``; ``None`` when there is none."""
    match = _TOOL_IP.search(text)
    return match[1] if match is not None and ip_address(match[1]) is not None else None


def parse_health(text: str) -> str | None:
    """What ``hccn_tool -i N -net_health -g`` says, ``Success`` when all is well."""
    match = _HEALTH.search(text)
    return None if match is None else match[1]


def parse_link(text: str) -> str | None:
    """What ``hccn_tool -i N -link -g`` says: ``UP`` or ``DOWN``."""
    match = _LINK.search(text)
    return None if match is None else match[1]


def parse_hccn_conf(text: str) -> dict[int, str]:
    """Addresses by device id in ``/etc/hccn.conf``; the last line of a device counts."""
    return {
        int(device): address
        for device, address in _CONF.findall(text)
        if ip_address(address) is not None
    }


def chosen_ips(tool: dict[int, str], conf: dict[int, str]) -> dict[int, str]:
    """Each device's address: the tool's, else the file's."""
    return {**conf, **tool}
