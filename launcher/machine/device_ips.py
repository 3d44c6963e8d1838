"""The addresses of this machine's Ascend devices, which a rank table needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.core.devices import hccn
from launcher.process.tools import output, program

TOOL = "hccn_tool"
CONF = Path("/etc/hccn.conf")
LIMIT_S = 20.0
AT_ONCE = 8


def read(devices: Iterable[int]) -> dict[int, str]:
    """Each device's address from hccn_tool, else from /etc/hccn.conf; unknown ones are left out."""
    devices = tuple(devices)
    if not devices:
        return {}
    tool = program(TOOL, os.environ)
    from_tool: dict[int, str] = {}
    if tool is not None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda d: tool_text(tool, d, os.environ, "-ip"), devices)
            found = zip(devices, map(hccn.parse_tool_ip, answers), strict=True)
            from_tool = {device: ip for device, ip in found if ip is not None}
    return {**{d: ip for d, ip in in_file().items() if d in devices}, **from_tool}


def tool_text(tool: str, device: int, environment: Mapping[str, str], topic: str) -> str:
    """What hccn_tool prints about one topic of a device."""
    return output([tool, "-i", str(device), topic, "-g"], environment, LIMIT_S)[0]


def in_file() -> dict[int, str]:
    """The addresses in /etc/hccn.conf, which can be stale."""
    try:
        return hccn.parse_hccn_conf(CONF.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}
