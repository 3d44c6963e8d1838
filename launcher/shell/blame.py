"""Which death came first, and what it means: witnesses in, one failure out."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.core.events import Failure, FailureKind


@dataclass(frozen=True)
class Witness:
    """Something that ends an attempt, as one node saw it. `time_s` is that node's Unix time."""

    node: str
    time_s: float
    rank: int | None = None
    role: str = "rank"
    exit_code: int | None = None
    signal: int | None = None
    asked: bool = False
    """Whether the agent had already told the process to end."""
    oom: bool = False
    last_lines: tuple[str, ...] = ()
    log: str | None = None
    log_offset: int | None = None
    launch_error: str | None = None
    agent_died: bool = False
    hang: str | None = None

    @classmethod
    def of_exit(cls, node: str, message: Mapping[str, Any]) -> Witness:
        return cls(
            node=node,
            time_s=float(message.get("time") or message.get("t") or 0.0),
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

    @classmethod
    def of_agent(cls, node: str, message: Mapping[str, Any]) -> Witness:
        return cls(
            node=node,
            time_s=float(message.get("t") or 0.0),
            role="agent",
            signal=message.get("signal"),
            exit_code=message.get("exit_code"),
            agent_died=True,
        )


def name_failure(witnesses: Sequence[Witness], ranks: tuple[int, ...]) -> Failure:
    """The failure of an attempt. `witnesses` has at least one; `ranks` are all of the run's."""
    first = min(witnesses, key=lambda witness: (witness.asked, witness.time_s))
    followers = tuple(rank for rank in sorted(ranks) if rank != first.rank)
    kind, meaning, try_next = _meaning(first)
    return Failure(
        kind=kind,
        meaning=meaning,
        try_next=try_next,
        rank=first.rank,
        node=first.node,
        exit_code=first.exit_code,
        signal=first.signal,
        time=first.time_s,
        last_lines=first.last_lines[-20:],
        log=first.log,
        log_offset=first.log_offset,
        followers=followers,
    )


def _meaning(first: Witness) -> tuple[FailureKind, str, str]:
    who = first.role if first.rank is None else f"rank {first.rank}"
    if first.launch_error is not None:
        return FailureKind.LAUNCH, first.launch_error, ""
    if first.agent_died:
        return FailureKind.NODE, f"the node agent on {first.node} died", "Resume the run."
    if first.hang is not None:
        return FailureKind.HANG, first.hang, ""
    if first.oom:
        return FailureKind.OOM, f"{who} was ended by the kernel: out of memory", ""
    if first.signal is not None:
        return FailureKind.SIGNAL, f"{who} was ended by {signal.Signals(first.signal).name}", ""
    return FailureKind.CRASH, f"{who} ended with exit code {first.exit_code}", ""
