"""The events of a run, one JSON object a line (docs/reference/events.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import Record, UnknownKindError, decode, encode, parse_object


class FailureKind(str, Enum):
    """The kind of an attempt's failure."""

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
    kernel_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event(Record):
    """``n`` counts from 1 without gaps, ``t`` is Unix seconds on the supervisor's clock.

    Both are given when the event is written; an agent's events carry its own number and time.
    """

    n: int = field(default=0, kw_only=True)
    t: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class RunCreated(Event, kind="run_created"):
    run: str
    profile: str
    world_size: int


@dataclass(frozen=True)
class SupervisorStarted(Event, kind="supervisor_started"):
    pid: int
    replaced: int | None = None
    """The process id of the supervisor before this one."""


@dataclass(frozen=True)
class AttemptStarted(Event, kind="attempt_started"):
    attempt: int
    world_size: int
    resume: StartCheckpoint | None = None
    logical_size: int | None = None
    """How many ranks the training is made of, where fewer carry them; ``None``: as many."""


@dataclass(frozen=True)
class SlurmQueued(Event, kind="slurm_queued"):
    """Slurm has the run in its queue, for the first time or for another attempt."""

    job: str
    why: str = ""


@dataclass(frozen=True)
class SlurmDequeued(Event, kind="slurm_dequeued"):
    """The job left the queue and did not begin: no attempt ended with it."""

    job: str
    why: str = ""


@dataclass(frozen=True)
class RankStarted(Event, kind="rank_started"):
    attempt: int
    rank: int
    node: str
    local_rank: int
    device: int | None
    pid: int
    start_time: float | None = None


@dataclass(frozen=True)
class TrainingStarted(Event, kind="training_started"):
    attempt: int
    epochs: int | None = None
    steps_per_epoch: int | None = None


@dataclass(frozen=True)
class EpochFinished(Event, kind="epoch_finished"):
    """``epoch`` is how many are done."""

    attempt: int
    epoch: int
    avg_loss: float | None = None
    input_ms: float | None = None
    """How long rank 0 waited for images in this epoch."""


@dataclass(frozen=True)
class CheckpointWritten(Event, kind="checkpoint_saved"):
    attempt: int
    epoch: int
    step: int
    path: str
    bytes: int | None = None
    sha256: str | None = None
    took_ms: float | None = None


@dataclass(frozen=True)
class CheckpointCopied(Event, kind="checkpoint_copied"):
    """A checkpoint is on a second node, with the sha256 of its manifest."""

    attempt: int
    step: int
    node: str
    path: str
    bytes: int | None = None
    took_ms: float | None = None


@dataclass(frozen=True)
class CheckpointNotCopied(Event, kind="checkpoint_not_copied"):
    """Written once for each reason, until a copy is made again; the run continues."""

    attempt: int
    node: str
    why: str
    step: int | None = None


@dataclass(frozen=True)
class EvalFinished(Event, kind="eval_finished"):
    attempt: int | None = None
    job: str | None = None
    epoch: int | None = None
    step: int | None = None
    loss: float | None = None
    top_1_acc: float | None = None
    top_5_acc: float | None = None
    images: int | None = None
    weights: str | None = None
    took_ms: float | None = None


@dataclass(frozen=True)
class RankSilent(Event, kind="rank_silent"):
    attempt: int
    rank: int
    node: str
    phase: str | None = None
    silent_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class RankRecovered(Event, kind="rank_recovered"):
    attempt: int
    rank: int
    node: str
    phase: str | None = None
    silent_s: float | None = None


@dataclass(frozen=True)
class StacksTaken(Event, kind="stacks_taken"):
    """What all ranks did at one moment; ``number`` counts within the attempt, from 1."""

    attempt: int
    number: int
    why: str = ""
    words: str = ""
    outliers: tuple[int, ...] = ()
    """The ranks that the others wait for."""


@dataclass(frozen=True)
class NodeUnreachable(Event, kind="node_unreachable"):
    """The supervisor gets no messages from a node; its ranks may still train."""

    attempt: int
    node: str
    silent_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class NodeReached(Event, kind="node_reached"):
    """It answers again; its reports in between are not lost."""

    attempt: int
    node: str
    silent_s: float | None = None


@dataclass(frozen=True)
class DiskLow(Event, kind="disk_low"):
    """A disk of a node is nearly full; ``needed_bytes`` is what the run may need soon."""

    attempt: int
    node: str
    path: str
    free_bytes: int
    needed_bytes: int | None = None


@dataclass(frozen=True)
class DiskRecovered(Event, kind="disk_recovered"):
    """There is space again."""

    attempt: int
    node: str
    path: str
    free_bytes: int | None = None


@dataclass(frozen=True)
class ReportSkipped(Event, kind="report_skipped"):
    """Report ``number`` of a node's agent was damaged, twice, and is left out."""

    attempt: int
    node: str
    number: int
    why: str = ""


@dataclass(frozen=True)
class StopRequested(Event, kind="stop_requested"):
    by: str
    save: bool = True


@dataclass(frozen=True)
class RankExited(Event, kind="rank_exited"):
    attempt: int
    rank: int
    node: str
    exit_code: int | None = None
    signal: int | None = None
    was_done: bool = False
    """Whether it had reported that its work was done: its exit code is then no failure."""


@dataclass(frozen=True)
class AttemptFailed(Event, kind="attempt_failed"):
    attempt: int
    failure: Failure


@dataclass(frozen=True)
class NodeReplaced(Event, kind="node_replaced"):
    """The attempts after this one use ``spare`` in the place of the node."""

    attempt: int
    node: str
    spare: str
    why: str
    is_reached: bool = False
    """Whether the node answered then."""


@dataclass(frozen=True)
class NodeLeftOut(Event, kind="node_left_out"):
    """The attempts after this one have no node in the place of this: the others carry its ranks."""

    attempt: int
    node: str
    why: str
    is_reached: bool = False
    """Whether the node answered then."""


@dataclass(frozen=True)
class NodeTakenBack(Event, kind="node_taken_back"):
    """A resume was asked to use a node again that was left out."""

    node: str


@dataclass(frozen=True)
class GaveUp(Event, kind="gave_up"):
    """The profile resumes automatically after a failure, but not after this one."""

    attempt: int
    why: str


@dataclass(frozen=True)
class AttemptStopped(Event, kind="attempt_stopped"):
    """``leftover``: process ids that are still there, normally none."""

    attempt: int
    step: int | None = None
    leftover: tuple[int, ...] = ()


@dataclass(frozen=True)
class AttemptFinished(Event, kind="attempt_finished"):
    attempt: int
    step: int | None = None


@dataclass(frozen=True)
class KeptProcess:
    """One that waits for the next attempt on a node, and has imported MindSpore for its ranks.

    ``is_here``: the node is the machine of the supervisor.
    """

    node: str
    pid: int
    start_time: float | None = None
    is_here: bool = False


@dataclass(frozen=True)
class ProcessesKept(Event, kind="processes_kept"):
    """What waits for the next attempt from now on, and until when; without ``processes`` nothing.

    Written after a failure, and when what waited was ended by a person.
    """

    attempt: int
    processes: tuple[KeptProcess, ...] = ()
    until_s: float | None = None


@dataclass(frozen=True)
class JobQueued(Event, kind="job_queued"):
    """Also each time that Slurm gives another reason."""

    job: str
    type: str
    slurm_job: str
    why: str
    node: str | None = None
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobStarted(Event, kind="job_started"):
    job: str
    type: str
    node: str | None = None
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobFinished(Event, kind="job_finished"):
    job: str
    exit_code: int | None = None
    result: Mapping[str, Any] | None = None


def to_json(event: Event) -> str:
    """The event's line, without the line end."""
    line = {"n": event.n, "t": event.t, **encode(event)}
    return json.dumps(line, ensure_ascii=False, separators=(", ", ": "))


def parse_event(line: str | bytes) -> Event | None:
    """The event in one line; ``None`` when it is malformed or of an unknown kind. Never raises."""
    try:
        data = parse_object(line)
        event = decode(Event, data)
    except (Mismatch, UnknownKindError):
        return None
    return event if event.n >= 1 and "t" in data else None
