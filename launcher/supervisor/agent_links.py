"""The channels to the agents of one attempt: opening, losing and finding them again."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from launcher.agent.client import LocalTransport, Transport
from launcher.core import messages
from launcher.core.messages import AGENT_EVENTS, AgentDied, Message, NodeEnded, Report
from launcher.core.plan.model import Plan
from launcher.core.run.events import Event
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import UnknownKindError
from launcher.errors import NodeError
from launcher.ipc.channel import Channel, ChannelClosedError
from launcher.process.log import log_line
from launcher.remote.node_client import NodeClient
from launcher.supervisor.ssh_transport import SshTransport

RECONNECT_S = 3.0
"""An agent that does not answer for this long is taken for dead, where its node says so."""
AWAY_S = 1.0
"""A connection that is back sooner was never gone, as far as people care."""
MAX_LAUNCHING = 32


@dataclass
class AgentLink:
    """One node of the attempt and its part of the plan.

    `last_n`: number of its agent's newest report that was handled.
    """

    transport: Transport
    plan: Plan
    last_n: int = 0
    channel: Channel | None = None
    is_over: bool = False
    alone_since: float | None = None
    is_launching: bool = False
    is_away: bool = False
    """Whether its absence was told."""
    is_given_up: bool = False
    """Whether its absence was taken for a failure."""
    exited: set[int] = field(default_factory=set)
    ended: NodeEnded | None = None
    leftover: tuple[int, ...] = ()
    bad_n: int = 0
    """Number of the report that was damaged, once so far."""

    @property
    def name(self) -> str:
        return self.transport.node

    def alone_s(self, now: float) -> float:
        """Since its last sign. `now` is monotonic."""
        return 0.0 if self.alone_since is None else now - self.alone_since


def links_of(plan: Plan, clients: Mapping[str, NodeClient]) -> tuple[AgentLink, ...]:
    """A link for each node of the plan."""
    here = RunPaths(Path(plan.run_directory)).attempt(plan.attempt).root
    found = []
    for node in plan.nodes:
        part = plan.for_node(node.name)
        transport: Transport
        if node.is_local:
            root = Path(part.run_directory)
            transport = LocalTransport(node.name, root, plan.attempt, plan.token)
        else:
            transport = SshTransport(clients[node.name], part, here)
        found.append(AgentLink(transport, part))
    return tuple(found)


class Owner(Protocol):
    """What hears of the links: an attempt."""

    def received(self, link: AgentLink, report: Report | Event) -> None:
        """Raises `Mismatch` for a report that cannot be right."""

    def skipped(self, link: AgentLink, number: int, why: str) -> None: ...

    def greeted(self, link: AgentLink) -> None:
        """A channel is open: what was asked for while there was none may be said now."""

    def away(self, link: AgentLink, alone_s: float, why: str) -> None: ...

    def back(self, link: AgentLink, alone_s: float) -> None: ...

    def launch_failed(self, link: AgentLink, error: Exception) -> None: ...


class AgentLinks:
    """All links of an attempt. Nothing here waits for a network."""

    def __init__(
        self, links: tuple[AgentLink, ...], selector: selectors.BaseSelector, owner: Owner
    ) -> None:
        self._links = {link.name: link for link in links}
        self._selector = selector
        self._owner = owner
        self._launching: dict[str, Future[Channel]] = {}

    def __iter__(self) -> Iterator[AgentLink]:
        return iter(self._links.values())

    def __getitem__(self, node: str) -> AgentLink:
        return self._links[node]

    def launch(self) -> None:
        """Starts all agents; each gets its part of the plan when all are there (`turn`)."""
        count = min(MAX_LAUNCHING, len(self._links))
        pool = ThreadPoolExecutor(count, thread_name_prefix="launch")
        for link in self._links.values():
            link.is_launching = True
            self._launching[link.name] = pool.submit(link.transport.launch)
        pool.shutdown(wait=not any(link.transport.is_remote for link in self._links.values()))
        self._collect_launched()

    def turn(self) -> None:
        self._collect_launched()
        for link in self._links.values():
            if link.is_launching:
                continue
            if link.channel is not None:
                self._flush(link)
            elif not link.is_over:
                self.reconnect(link)

    def ready(self, channel: object) -> None:
        """Something arrived on a channel."""
        for link in self._links.values():
            if link.channel is channel and link.channel is not None:
                self._receive(link, link.channel)

    def _receive(self, link: AgentLink, channel: Channel) -> None:
        for message in channel.receive():
            try:
                if isinstance(message, messages.Error):
                    log_line(f"{link.name}: its agent refused a command: {message.text}")
                    continue
                if not isinstance(message, (Report, *AGENT_EVENTS)):
                    raise Mismatch(f"{message.kind}: not what an agent reports")
                self._owner.received(link, message)
            except Mismatch as error:
                channel.bad_number = message.n if isinstance(message, (Report, Event)) else 0
                channel.close(f"damaged message: {error}")
                break
        if channel.closed and link.channel is channel:
            if channel.problem:
                log_line(f"{link.name}: connection closed: {channel.problem}")
                self._damaged(link, channel.bad_number, channel.problem)
            self._lost(link)

    def _damaged(self, link: AgentLink, number: int, why: str) -> None:
        """A report that is damaged twice is skipped: it will not get better."""
        if number > link.last_n and number == link.bad_n:
            link.last_n = number
            self._owner.skipped(link, number, why)
        link.bad_n = number

    def _read_journal(self, link: AgentLink) -> None:
        """The journal outlives its agent: its last reports are in there."""
        for n, line in link.transport.missed(link.last_n):
            if not self._handle_line(link, n, line):
                return  # retry at the next turn: the line may still be being written

    def _handle_line(self, link: AgentLink, n: int, line: dict[str, object]) -> bool:
        try:
            self._owner.received(link, messages.decode_report(line))
        except (Mismatch, UnknownKindError) as error:
            self._damaged(link, n, str(error))
            return link.last_n >= n
        return True

    def reconnect(self, link: AgentLink) -> None:
        now = time.monotonic()
        link.alone_since = link.alone_since or now
        try:
            self._attach(link, link.transport.connect())
            return
        except (NodeError, ChannelClosedError) as error:
            self._detach(link)
            if link.transport.is_remote and not link.is_away and link.alone_s(now) > AWAY_S:
                link.is_away = True
                self._owner.away(link, link.alone_s(now), str(error))
        self._read_journal(link)
        is_late = link.alone_s(now) > RECONNECT_S
        # An agent that cannot be reached is not dead: nothing of its may be touched.
        if is_late and not link.is_over and not link.transport.is_agent_alive():
            leftover = link.transport.sweep()
            self._owner.received(link, AgentDied(leftover=leftover))

    def send(self, link: AgentLink, message: Message) -> None:
        """Sends it when there is a channel; what is lost with one is sent again by `greeted`."""
        if link.channel is not None:
            try:
                link.channel.send(message)
            except ChannelClosedError:
                self._lost(link)

    def release(self, link: AgentLink) -> None:
        """Lets an agent go whose part is over."""
        self.send(link, messages.Leave())
        self._detach(link)

    def dismiss(self) -> None:
        """Lets all agents go, and waits until they have heard it."""
        for link in self._links.values():
            self.release(link)
        for link in self._links.values():
            link.transport.close()

    def _collect_launched(self) -> None:
        if not self._launching or not all(f.done() for f in self._launching.values()):
            return
        launching, self._launching = self._launching, {}
        failed: list[tuple[AgentLink, Exception]] = []
        for link in self._links.values():
            link.is_launching = False
            try:
                self._attach(link, launching[link.name].result())
            except (NodeError, ChannelClosedError) as error:
                failed.append((link, error))
        for link, why in failed:
            self._owner.launch_failed(link, why)
        for link in self._links.values():
            if failed:
                # Where nothing was started nothing has to be ended.
                link.is_over = True
            else:
                self.send(link, messages.Start(link.plan))
                # The agent ignored a stop that it got before its start.
                self._owner.greeted(link)

    def _attach(self, link: AgentLink, channel: Channel) -> None:
        link.channel = channel
        self._selector.register(channel, selectors.EVENT_READ)
        channel.send(messages.Hello(link.last_n))
        if link.is_away:
            link.is_away = False
            self._owner.back(link, link.alone_s(time.monotonic()))
        link.alone_since = None
        self._owner.greeted(link)

    def _detach(self, link: AgentLink) -> None:
        if link.channel is not None:
            for key in list(self._selector.get_map().values()):
                # A closed socket has no number any more: the selector is searched by object.
                if key.fileobj is link.channel:
                    self._selector.unregister(link.channel)
            link.channel.close()
            link.channel = None

    def _lost(self, link: AgentLink) -> None:
        self._detach(link)
        link.alone_since = time.monotonic()
        if not link.is_over:
            self.reconnect(link)

    def _flush(self, link: AgentLink) -> None:
        try:
            if link.channel is not None:
                link.channel.flush()
        except ChannelClosedError:
            self._lost(link)
