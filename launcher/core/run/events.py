"""The events of a run, one JSON object a line (docs/run-directory.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from launcher.core.text.codec import Mismatch, from_plain, to_plain


class FailureKind(str, Enum):
    """What kind of thing ended an attempt."""

    CRASH = "crash"
    SIGNAL = "signal"
    OOM = "oom"
    LOSS = "loss"
    DATA = "data"
    HANG = "hang"
    NODE = "node"
    LAUNCH = "launch"
    CONFIG = "config"
    CHECKPOINT = "checkpoint"
    DEVICE = "device"


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended: the first rank that failed, and the ranks that only followed it."""

    kind: FailureKind
    meaning: str
    try_next: str = ""
    rank: int | None = None
    node: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    time: float | None = None
    last_lines: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()
    log: str | None = None
    log_offset: int | None = None
    followers: tuple[int, ...] = ()


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint that an attempt continues from; ``epoch`` and ``step`` are done."""

    path: str
    epoch: int
    step: int
    why: str = ""
    steps_lost: int | None = None


@dataclass(frozen=True)
class Event:
    """``n`` counts from 1 without gaps, ``t`` is Unix seconds on the supervisor's clock."""

    kind: ClassVar[str] = ""

    n: int
    t: float


@dataclass(frozen=True)
class RunCreated(Event):
    kind: ClassVar[str] = "run_created"

    run: str
    profile: str
    world_size: int


@dataclass(frozen=True)
class SupervisorStarted(Event):
    kind: ClassVar[str] = "supervisor_started"

    pid: int
    replaced: int | None = None
    """The process id of the supervisor before this one."""


@dataclass(frozen=True)
class AttemptStarted(Event):
    kind: ClassVar[str] = "attempt_started"

    attempt: int
    world_size: int
    resume: ResumePoint | None = None


@dataclass(frozen=True)
class RankStarted(Event):
    kind: ClassVar[str] = "rank_started"

    attempt: int
    rank: int
    node: str
    local_rank: int
    device: int | None
    pid: int
    start_time: float | None = None


@dataclass(frozen=True)
class TrainingStarted(Event):
    kind: ClassVar[str] = "training_started"

    attempt: int
    epochs: int | None = None
    steps_per_epoch: int | None = None


@dataclass(frozen=True)
class EpochFinished(Event):
    """``epoch`` is how many are done."""

    kind: ClassVar[str] = "epoch_finished"

    attempt: int
    epoch: int
    avg_loss: float | None = None


@dataclass(frozen=True)
class CheckpointWritten(Event):
    kind: ClassVar[str] = "checkpoint_saved"

    attempt: int
    epoch: int
    step: int
    path: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class EvalFinished(Event):
    kind: ClassVar[str] = "eval_finished"

    attempt: int | None = None
    job: str | None = None
    epoch: int | None = None
    step: int | None = None
    loss: float | None = None
    top_1_acc: float | None = None
    top_5_acc: float | None = None
    images: int | None = None
    weights: str | None = None


@dataclass(frozen=True)
class RankSilent(Event):
    kind: ClassVar[str] = "rank_silent"

    attempt: int
    rank: int
    node: str
    phase: str | None = None
    silent_s: float | None = None


@dataclass(frozen=True)
class RankRecovered(Event):
    kind: ClassVar[str] = "rank_recovered"

    attempt: int
    rank: int
    node: str
    phase: str | None = None
    silent_s: float | None = None


@dataclass(frozen=True)
class NodeUnreachable(Event):
    """The supervisor hears nothing of a node; its ranks may well go on."""

    kind: ClassVar[str] = "node_unreachable"

    attempt: int
    node: str
    silent_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class NodeReached(Event):
    """It answers again, and nothing of what it said meanwhile is lost."""

    kind: ClassVar[str] = "node_reached"

    attempt: int
    node: str
    silent_s: float | None = None


@dataclass(frozen=True)
class DiskLow(Event):
    """A disk of a node is nearly full; ``needed_bytes`` is what the run may need soon."""

    kind: ClassVar[str] = "disk_low"

    attempt: int
    node: str
    path: str
    free_bytes: int
    needed_bytes: int | None = None


@dataclass(frozen=True)
class DiskRecovered(Event):
    """There is space again."""

    kind: ClassVar[str] = "disk_recovered"

    attempt: int
    node: str
    path: str
    free_bytes: int | None = None


@dataclass(frozen=True)
class StopRequested(Event):
    kind: ClassVar[str] = "stop_requested"

    by: str
    save: bool = True


@dataclass(frozen=True)
class RankExited(Event):
    kind: ClassVar[str] = "rank_exited"

    attempt: int
    rank: int
    node: str
    exit_code: int | None = None
    signal: int | None = None
    was_done: bool = False
    """Whether it had said that its work was done: how it left then is no failure."""


@dataclass(frozen=True)
class AttemptFailed(Event):
    kind: ClassVar[str] = "attempt_failed"

    attempt: int
    failure: Failure


@dataclass(frozen=True)
class AttemptStopped(Event):
    """``leftover``: process ids that are still there, normally none."""

    kind: ClassVar[str] = "attempt_stopped"

    attempt: int
    step: int | None = None
    leftover: tuple[int, ...] = ()


@dataclass(frozen=True)
class AttemptFinished(Event):
    kind: ClassVar[str] = "attempt_finished"

    attempt: int
    step: int | None = None


@dataclass(frozen=True)
class JobStarted(Event):
    kind: ClassVar[str] = "job_started"

    job: str
    type: str
    node: str | None = None
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobFinished(Event):
    kind: ClassVar[str] = "job_finished"

    job: str
    exit_code: int | None = None
    result: Mapping[str, Any] | None = None


EVENTS: Mapping[str, type[Event]] = {
    event.kind: event
    for event in (
        RunCreated,
        SupervisorStarted,
        AttemptStarted,
        RankStarted,
        TrainingStarted,
        EpochFinished,
        CheckpointWritten,
        EvalFinished,
        RankSilent,
        RankRecovered,
        NodeUnreachable,
        NodeReached,
        DiskLow,
        DiskRecovered,
        StopRequested,
        RankExited,
        AttemptFailed,
        AttemptStopped,
        AttemptFinished,
        JobStarted,
        JobFinished,
    )
}
"""Every kind of event that this version knows."""


def to_json(event: Event) -> str:
    """The event's line, without the line end."""
    plain = to_plain(event)
    line = {"n": plain.pop("n"), "t": plain.pop("t"), "kind": event.kind, **plain}
    return json.dumps(line, ensure_ascii=False, separators=(", ", ": "))


def parse_event(line: str | bytes) -> Event | None:
    """The event in one line; ``None`` when it is malformed or of an unknown kind. Never raises."""
    try:
        data = json.loads(line)
    # A file that grew by a power cut holds anything: bytes that are no text, nesting without end.
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    cls = EVENTS.get(data["kind"]) if isinstance(data.get("kind"), str) else None
    if cls is None:
        return None
    try:
        event = from_plain(cls, data)
    except (Mismatch, RecursionError):
        return None
    return event if event.n >= 1 else None
