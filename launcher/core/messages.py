"""Every message between a run's supervisor, its agents, mpirun's children and clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.core.diagnosis.failure import Death
from launcher.core.diagnosis.stacks import RankStacks
from launcher.core.plan.model import Plan, PlannedProcess
from launcher.core.run import events
from launcher.core.run.events import Event, KeptProcess
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import PROTOCOL_VERSION, Record, decode


class Message(Record):
    """A command, a reply or a report."""


# -- to a supervisor (ping, stop) and to agents


@dataclass(frozen=True)
class Ping(Message, kind="ping"):
    """The reply of a supervisor is `RunStatusReply`, that of an agent `Pong`."""


@dataclass(frozen=True)
class Stop(Message, kind="stop"):
    save: bool = True
    by: str = ""


@dataclass(frozen=True)
class TakeStacks(Message, kind="take_stacks"):
    """All ranks write the stacks of their threads. ``asked_s`` names the request to an agent.

    The supervisor answers a client at once; the event `StacksTaken` follows.
    """

    asked_s: float = 0.0
    by: str = ""


@dataclass(frozen=True)
class Hello(Message, kind="hello"):
    """The agent sends all reports after number ``after``, then new ones as they come."""

    after: int = 0


@dataclass(frozen=True)
class Start(Message, kind="start"):
    """``plan``: the part of the agent's node. ``secrets``: the values that it leaves out."""

    plan: Plan
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class End(Message, kind="end"):
    """Ends all ranks at once: one has failed, and no other can continue."""

    why: str = ""


@dataclass(frozen=True)
class Finish(Message, kind="finish"):
    """The ranks of all nodes are done."""


@dataclass(frozen=True)
class Leave(Message, kind="leave"):
    """The agent ends what it has, and exits.

    ``keep_warm``: after a failure it may stay for the next attempt, as long as the plan says.
    """

    keep_warm: bool = False


@dataclass(frozen=True)
class TakeOver(Message, kind="take_over"):
    """An agent that stayed becomes that of this attempt: it runs ``argv`` with ``environment``.

    ``log`` is for its output. The reply is `Accepted` or an `Error`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: str


# -- from the processes that mpirun starts for each rank and node, to the agent of its node


@dataclass(frozen=True)
class Register(Message, kind="register"):
    """The reply is a `RankPlan` or an `Error`."""

    rank: int


@dataclass(frozen=True)
class RankJoined(Message, kind="rank_joined"):
    rank: int
    pid: int
    start_ticks: int
    start_time_s: float


@dataclass(frozen=True)
class RankLeft(Message, kind="rank_left"):
    pid: int
    exit_code: int | None
    signal: int | None
    time_s: float


@dataclass(frozen=True)
class StartDaemon(Message, kind="start_daemon"):
    """Starts OpenMPI's daemon as mpirun wants it. The reply is `Accepted` or an `Error`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


# -- replies


@dataclass(frozen=True)
class RankPlan(Message, kind="rank_plan"):
    process: PlannedProcess
    token: str


@dataclass(frozen=True)
class RunStatusReply(Message, kind="run_status"):
    """``trouble``: why events cannot be written now."""

    pid: int
    status: str
    last_n: int
    trouble: str | None = None


@dataclass(frozen=True)
class Accepted(Message, kind="accepted"):
    pid: int = 0


@dataclass(frozen=True)
class Error(Message, kind="error"):
    text: str
    version: int = PROTOCOL_VERSION


# -- what agents report, beside the run's events (`AGENT_EVENTS`)


@dataclass(frozen=True)
class Report(Message):
    """``n`` counts an agent's reports and events from 1; 0 is not in its journal.

    ``t`` is Unix time on the node's clock.
    """

    n: int = field(default=0, kw_only=True)
    t: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class Pong(Report, kind="pong"):
    pass


@dataclass(frozen=True)
class Died(Report, kind="died"):
    """Something that makes the attempt fail: a process that ended, a hang, a failed start."""

    death: Death


@dataclass(frozen=True)
class StacksOfRank(Report, kind="stacks_of_rank"):
    """``asked_s``: that of the request."""

    asked_s: float
    stacks: RankStacks


@dataclass(frozen=True)
class Trouble(Report, kind="trouble"):
    text: str


@dataclass(frozen=True)
class NodeEnded(Report, kind="node_ended"):
    """The last report of a node: nothing of its part runs. ``leftover``: pids that are still there.

    An agent that died or does not answer cannot write it: its guard does, or what ended its ranks.
    """

    step: int = 0
    has_stopped: bool = False
    """Whether a rank stopped on request, with its work saved."""
    leftover: tuple[int, ...] = ()
    kept: tuple[KeptProcess, ...] = ()
    """What may wait for the next attempt: `Leave` says whether it does."""


@dataclass(frozen=True)
class AgentDied(Report, kind="agent_died"):
    """Written by the agent's guard at once, or by a supervisor that finds no agent. `NodeEnded`
    follows when its ranks have ended."""

    exit_code: int | None = None
    signal: int | None = None


AGENT_EVENTS = (
    events.RankStarted,
    events.TrainingStarted,
    events.EpochFinished,
    events.CheckpointWritten,
    events.EvalFinished,
    events.RankSilent,
    events.RankRecovered,
    events.RankExited,
    events.DiskLow,
    events.DiskRecovered,
)
"""The events that an agent sends; the supervisor gives them the run's numbers and its own time."""


def decode_message(data: Any) -> Message | Event:
    """The message or event that ``data`` describes. Raises `Mismatch`, `UnknownKindError`."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind in Event.kinds:
        return decode(Event, data)
    return decode(Message, data)


def decode_report(data: Any) -> Report | Event:
    """A message that an agent sends or has in its journal. Raises as `decode_message`."""
    message = decode_message(data)
    if not isinstance(message, (Report, *AGENT_EVENTS)):
        raise Mismatch(f"{message.kind}: not what an agent reports")
    return message
