"""HCCL's own time limits; they are set high, for the launcher sees deaths itself.

Source: the vendor's environment variable reference (hiascend.com).
"""

from __future__ import annotations

from launcher.core.profile import Profile

CONNECT_LIMITS_S = (120, 7200)
"""What HCCL_CONNECT_TIMEOUT accepts."""

MAX_EXEC_S = 17_340
"""The most that HCCL_EXEC_TIMEOUT accepts on 910: 255 × 68 s."""


def time_limits(profile: Profile) -> dict[str, str]:
    """How long ranks wait for each other when they connect, and within a step."""
    low_s, high_s = CONNECT_LIMITS_S
    connect_s = min(max(int(profile.limits.launch_s), low_s), high_s)
    exec_s = min(int(profile.limits.node_timeout_s), MAX_EXEC_S)
    return {"HCCL_CONNECT_TIMEOUT": str(connect_s), "HCCL_EXEC_TIMEOUT": str(exec_s)}
