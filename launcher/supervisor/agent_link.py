"""One node of an attempt, as its supervisor sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher.agent.client import LocalTransport, Transport
from launcher.core.diagnosis.failure import Death
from launcher.core.messages import Message, NodeEnded, Report
from launcher.core.plan.model import Plan
from launcher.core.profile.model import Profile
from launcher.core.run.events import Event
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch
from launcher.errors import NodeError
from launcher.ipc.channel import Channel
from launcher.remote.node_client import NodeClient
from launcher.remote.node_loop import NodeLoop
from launcher.supervisor.slurm.batch_job import BatchJob
from launcher.supervisor.slurm.transport import SlurmTransport
from launcher.supervisor.ssh_transport import SshTransport

SILENT_S = 5.0
"""An agent that answers no ping for this long does not answer, whatever else its node sends."""


@dataclass
class AgentLink:
    """One node of the attempt and its part of the plan.

    `last_n`: number of its agent's newest report that was handled. `recorded_n`: that of its newest
    report that the supervisor before this one recorded as an event.
    """

    transport: Transport
    plan: Plan
    secrets: Mapping[str, str] = field(default_factory=dict)
    last_n: int = 0
    recorded_n: int = 0
    channel: Channel | None = None
    is_over: bool = False
    alone_since: float | None = None
    is_launching: bool = False
    may_launch: bool = False
    """Whether the supervisor before this one may have died before this agent got its plan."""
    is_away: bool = False
    """Whether its absence was reported."""
    why: str = ""
    """Why it is away: what SSH or the socket reported last."""
    reported: set[str] = field(default_factory=set)
    """The reasons that were reported of this absence."""
    is_given_up: bool = False
    """Whether its absence failed the attempt."""
    has_died: bool = False
    """Whether its agent has: its ranks are being ended."""
    is_asked: bool = False
    """Whether it has not answered the ping of `AgentLinks.ask` yet."""
    orders: tuple[Message, ...] = ()
    """What its agent is to do now."""
    must_end: bool = False
    """Whether its ranks are ended without the agent when that does not answer."""
    silent_since: float | None = None
    """Since when it owes an answer on this channel."""
    pinged_at: float = 0.0
    is_frozen: bool = False
    """Whether no answer came on a channel that was open, as one to a stopped process is."""
    sweep_at: float = 0.0
    """When its processes may be ended without its agent, after a try that failed."""
    exited: set[int] = field(default_factory=set)
    is_dismissed: bool = False
    """Whether its connection was closed for good."""
    ended: NodeEnded | None = None
    leftover: tuple[int, ...] = ()
    bad_n: int = 0
    """Number of the report that was damaged, once so far."""

    @property
    def name(self) -> str:
        return self.transport.node

    def check(self, event: Event) -> None:
        """Raises `Mismatch` for an event of another attempt, node or rank."""
        attempt = getattr(event, "attempt", self.plan.attempt)
        node, rank = getattr(event, "node", self.name), getattr(event, "rank", None)
        if attempt != self.plan.attempt or node != self.name:
            raise Mismatch(f"{event.kind}: of attempt {attempt} on {node}")
        if rank is not None and rank not in (process.rank for process in self.plan.ranks):
            raise Mismatch(f"{event.kind}: rank {rank} is not on {self.name}")

    def from_afar(self, death: Death, root: str) -> Death:
        """On our clock, and with the copy of the log in `root`, the run's folder here."""
        if not self.transport.is_remote:
            return death
        log, there = death.log or "", f"{self.plan.run_directory}/"
        if log.startswith(there):
            log = f"{root}/{log.removeprefix(there)}"
        time_s = death.time_s - self.transport.clock_ahead_s
        return replace(death, node=self.name, time_s=time_s, log=log or None)

    def alone_s(self, now: float) -> float:
        """Since its last sign. `now` is monotonic."""
        return 0.0 if self.alone_since is None else now - self.alone_since

    def was_late(self, late_s: float, now: float) -> None:
        """Nobody read its answers for so long: that was no silence of the node's."""
        if self.silent_since is not None:
            self.silent_since = min(self.silent_since + late_s, now)
        if self.alone_since is not None:
            self.alone_since = min(self.alone_since + late_s, now)

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may have died before `AgentLinks.ask`, and nobody could report it yet."""
        is_known = self.is_over or self.has_died or self.is_away or self.is_launching
        return not is_known and self.is_asked

    def is_silent(self, now: float) -> bool:
        """Whether an answer to a ping is overdue."""
        limit_s = min(SILENT_S, self.plan.limits.unreachable_s / 2)
        return self.silent_since is not None and now - self.silent_since > limit_s


LinkReport = tuple[AgentLink, Report | Event]


def links_of(
    plan: Plan,
    clients: Mapping[str, NodeClient],
    profile: Profile,
    token: str,
    batch: BatchJob | None = None,
) -> tuple[AgentLink, ...]:
    """A link for each node of the plan. `token`: that of the attempt's processes."""
    here = RunPaths(Path(plan.run_directory)).attempt(plan.attempt).root
    loop = NodeLoop()
    found = []
    for node in plan.nodes:
        part = plan.for_node(node.name)
        transport: Transport
        if batch is not None:
            where = batch.number, batch.address(node.name)
            root = Path(part.run_directory)
            transport = SlurmTransport(node.name, root, plan.attempt, token, *where)
        elif node.is_local:
            root = Path(part.run_directory)
            transport = LocalTransport(node.name, root, plan.attempt, token)
        else:
            transport = SshTransport(clients[node.name], part, here, token, loop)
        found.append(AgentLink(transport, part, profile.secrets_of(node.name)))
    return tuple(found)


def reason_of(error: Exception) -> str:
    """In one line, with what to do; the node is named elsewhere."""
    if isinstance(error, NodeError):
        return ". ".join(text.rstrip(".") for text in (error.message, error.hint) if text)
    return str(error)
