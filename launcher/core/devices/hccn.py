"""Output of Ascend's network tool, and its configuration file.

Sources: ``hccn_tool -i N -ip -g`` prints ``ipaddr:…`` and ``netmask:…``; ``-net_health -g`` prints
``net health status: Success``, ``-link -g`` ``link status: UP``; ``/etc/hccn.conf`` holds lines
``address_N=…``. The tool is right: the file can be out of date.
"""

from __future__ import annotations

import re

from launcher.core.profile.address import ip_address

_TOOL_IP = re.compile(r"^\s*ipaddr\s*:\s*(\S+)\s*$", re.MULTILINE)
_HEALTH = re.compile(r"^\s*net health status\s*:\s*(\S[^\n]*?)\s*$", re.MULTILINE | re.IGNORECASE)
_LINK = re.compile(r"^\s*link status\s*:\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)
_CONF = re.compile(r"^\s*address_(\d{1,3})\s*=\s*(\S+)\s*$", re.MULTILINE | re.ASCII)


def parse_tool_ip(text: str) -> str | None:
    """The address in the output of ``hccn_tool -i N -ip -g``; ``None`` when there is none."""
    match = _TOOL_IP.search(text)
    return match[1] if match is not None and ip_address(match[1]) is not None else None


def parse_health(text: str) -> str | None:
    """The result of ``hccn_tool -i N -net_health -g``: ``Success`` for a healthy network."""
    match = _HEALTH.search(text)
    return None if match is None else match[1]


def parse_link(text: str) -> str | None:
    """The result of ``hccn_tool -i N -link -g``: ``UP`` or ``DOWN``."""
    match = _LINK.search(text)
    return None if match is None else match[1]


def parse_hccn_conf(text: str) -> dict[int, str]:
    """Addresses by device id in ``/etc/hccn.conf``; the last line of a device is used."""
    return {
        int(device): address
        for device, address in _CONF.findall(text)
        if ip_address(address) is not None
    }
