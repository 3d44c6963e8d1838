"""The heartbeat of a rank: one record of 128 bytes (docs/report-format.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HEARTBEAT_BYTES = 128
VERSION = 1


class Phase(str, Enum):
    """What a rank is doing. A rank in ``reduce`` waits for its peers."""

    INIT = "init"
    COMPILE = "compile"
    DATA = "data"
    COMPUTE = "compute"
    REDUCE = "reduce"
    CHECKPOINT = "checkpoint"
    EVAL = "eval"
    EXPORT = "export"
    DONE = "done"


@dataclass(frozen=True)
class Heartbeat:
    """``time_s`` is Unix time on the rank's node; steps and epochs are how many are done."""

    time_s: float
    phase: Phase
    steps_done: int
    epochs_done: int
    pid: int


def parse_heartbeat(data: bytes) -> Heartbeat | None:
    """The record, or ``None`` for anything that is not one whole record of our version."""
    if len(data) != HEARTBEAT_BYTES or not data.endswith(b"\n") or not data.isascii():
        return None
    parts = data.decode("ascii").split()
    if len(parts) != 6 or parts[0] != str(VERSION):
        return None
    try:
        beat = Heartbeat(
            time_s=float(parts[1]),
            phase=Phase(parts[2]),
            steps_done=int(parts[3]),
            epochs_done=int(parts[4]),
            pid=int(parts[5]),
        )
    except ValueError:
        return None
    in_range = 0 <= beat.steps_done < 2**63 and 0 <= beat.epochs_done < 2**63
    return beat if in_range and 0 < beat.pid < 2**31 and 0 <= beat.time_s < 1e12 else None
