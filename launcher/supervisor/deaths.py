"""Agents' messages as deaths, for `launcher.core.diagnosis.failure` to name the first of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.core.diagnosis.failure import Death
from launcher.core.run.events import FailureKind


def of_exit(node: str, message: Mapping[str, Any]) -> Death:
    """A rank, or a helper (scheduler, mpirun), that ended."""
    return Death(
        node=node,
        time_s=_time(message),
        rank=message.get("rank"),
        role=str(message.get("role", "rank")),
        exit_code=message.get("exit_code"),
        signal=message.get("signal"),
        asked=bool(message.get("asked")),
        oom=bool(message.get("oom")),
        last_lines=tuple(map(str, message.get("last_lines") or ())),
        log=message.get("log"),
        log_offset=message.get("log_offset"),
    )


def of_agent(node: str, message: Mapping[str, Any]) -> Death:
    """A node agent that ended; its guard, or a search of ours, ended its ranks."""
    number, code = message.get("signal"), message.get("exit_code")
    how = f"by signal {number}" if number is not None else f"with exit code {code}"
    how = "without a trace" if number is None and code is None else how
    return Death(
        node=node,
        time_s=_time(message),
        role="node agent",
        exit_code=code,
        signal=number,
        kind=FailureKind.NODE,
        meaning=f"the node agent on {node} ended {how}, and its ranks with it; resume the run",
    )


def of_text(node: str, message: Mapping[str, Any], kind: FailureKind = FailureKind.LAUNCH) -> Death:
    """Something that no process's end tells."""
    return Death(node=node, time_s=_time(message), kind=kind, meaning=str(message.get("text", "")))


def _time(message: Mapping[str, Any]) -> float:
    return float(message.get("time") or message.get("t") or 0.0)
