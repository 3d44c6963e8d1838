"""The channels to the agents of one attempt: opening, losing and finding them again."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from launcher.agent.client import Transport
from launcher.core.plan.orders import NodeOrder
from launcher.core.text.codec import to_plain
from launcher.errors import NodeError
from launcher.ipc.channel import Channel, ChannelClosedError, Message

RECONNECT_S = 3.0
"""An agent that does not answer for this long is taken for dead, where its node says so."""
AWAY_S = 1.0
"""A connection that is back sooner was never gone, as far as people care."""
MAX_LAUNCHING = 32


@dataclass
class AgentLink:
    """One node of the attempt. `last_n`: its agent's newest message that became an event."""

    transport: Transport
    order: NodeOrder
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
    ended: Message | None = None

    @property
    def name(self) -> str:
        return self.transport.node

    def alone_s(self, now: float) -> float:
        """Since its last sign. `now` is monotonic."""
        return 0.0 if self.alone_since is None else now - self.alone_since


class Owner(Protocol):
    """What hears of the links: an attempt."""

    def took(self, link: AgentLink, message: Message) -> None: ...

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
        """Starts all agents; each gets its order when all are there (`turn`)."""
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
                for message in link.channel.receive():
                    self._owner.took(link, message)
                if link.channel is not None and link.channel.closed:
                    self._lost(link)

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
        # The journal outlives its agent: whatever it said last is in there.
        for n, message in link.transport.missed(link.last_n):
            self._owner.took(link, {**message, "n": n})
        is_late = link.alone_s(now) > RECONNECT_S
        # An agent that cannot be reached is not dead: nothing of its may be touched.
        if is_late and not link.is_over and not link.transport.is_agent_alive():
            leftover = link.transport.sweep()
            self._owner.took(link, {"n": 0, "type": "agent_died", "leftover": list(leftover)})

    def tell(self, link: AgentLink, message: Message) -> None:
        """Says it when there is a channel; what is lost with a channel is said by `greeted`."""
        if link.channel is not None:
            try:
                link.channel.send(message)
            except ChannelClosedError:
                self._lost(link)

    def release(self, link: AgentLink) -> None:
        """Lets an agent go whose part is over."""
        self.tell(link, {"cmd": "leave"})
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
                self.tell(link, {"cmd": "start", "order": to_plain(link.order)})

    def _attach(self, link: AgentLink, channel: Channel) -> None:
        link.channel = channel
        self._selector.register(channel, selectors.EVENT_READ)
        channel.send({"cmd": "hello", "after": link.last_n})
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
