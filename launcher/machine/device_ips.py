"""The addresses of this machine's Ascend devices, which a rank table needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.core.devices import hccn
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod

TOOL = "hccn_tool"
TOOL_PATH = "/usr/local/Ascend/driver/tools/hccn_tool"
"""Where the driver puts it, which need not be on PATH."""
CONF = Path("/etc/hccn.conf")
LIMIT_S = 20.0
AT_ONCE = 8


def wanted(profile: Profile, node: Node) -> tuple[int, ...]:
    """The devices of a node whose address the profile leaves open and a rank table needs."""
    is_needed = (
        profile.device_target is DeviceTarget.ASCEND
        and profile.start_method is StartMethod.RANKTABLE
        and profile.world_size > 1
    )
    return tuple(d.device_id for d in node.devices if not d.device_ip) if is_needed else ()


def asked(devices: Iterable[int]) -> dict[int, str]:
    """Each device's address: hccn_tool's, else that of /etc/hccn.conf; others are left out."""
    devices = tuple(devices)
    if not devices:
        return {}
    tool = shutil.which(TOOL) or (TOOL_PATH if os.access(TOOL_PATH, os.X_OK) else None)
    told: dict[int, str] = {}
    if tool is not None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda device: _ask(tool, device), devices)
            told = {d: ip for d, ip in zip(devices, answers, strict=True) if ip is not None}
    try:
        conf = hccn.parse_hccn_conf(CONF.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        conf = {}
    return hccn.chosen_ips(told, {d: ip for d, ip in conf.items() if d in devices})


def _ask(tool: str, device: int) -> str | None:
    try:
        done = subprocess.run(
            [tool, "-i", str(device), "-ip", "-g"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return hccn.parse_tool_ip(done.stdout)
