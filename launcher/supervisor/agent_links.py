"""The channels to the agents of one attempt: opening, losing and finding them again."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from launcher.core import messages
from launcher.core.diagnosis.failure import Death
from launcher.core.messages import AGENT_EVENTS, AgentDied, Died, Message, NodeEnded, Report
from launcher.core.run.events import (
    Event,
    FailureKind,
    NodeReached,
    NodeUnreachable,
    ReportSkipped,
)
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import UnknownKindError
from launcher.errors import ConnectingError, LostNodeError, NodeError
from launcher.ipc.channel import Channel, ChannelClosedError
from launcher.process.in_thread import in_thread
from launcher.process.log import log_line
from launcher.supervisor.agent_link import AgentLink, LinkReport, reason_of

SWEEP_S = 3.0
"""Between two tries to end a node's processes without its agent."""
AWAY_S = 1.0
"""A connection that is back sooner was never gone, as far as people care."""
PING_S = 1.0
REPEAT_S = 2.0
MAX_REASONS = 4
"""Reported of one absence; some texts differ each time."""
MAX_LAUNCHING = 32
LATE_S = 0.3
"""Of the time between two turns no more counts as silence: this process did not run, or had other
work, and nodes may have answered meanwhile. Silence is noticed where all turns are slow, too."""


class AgentLinks:
    """All links of an attempt. Nothing here waits for a network.

    What `launch`, `ready` and `turn` return is each report once, and the changes of the links
    themselves as events or reports of the same kinds.
    """

    def __init__(self, links: tuple[AgentLink, ...], selector: selectors.BaseSelector) -> None:
        self._links = {link.name: link for link in links}
        self._selector = selector
        self._reports: list[LinkReport] = []
        self._launching: dict[str, Future[Channel]] = {}
        self._sweeping: dict[str, Future[tuple[int, ...]]] = {}
        self._repeat_at = 0.0
        self._turned_at = time.monotonic()
        self._has_asked = False

    def __iter__(self) -> Iterator[AgentLink]:
        return iter(self._links.values())

    def __getitem__(self, node: str) -> AgentLink:
        return self._links[node]

    def launch(self) -> list[LinkReport]:
        """Starts all agents; each gets its part of the plan when all are there (`turn`)."""
        count = min(MAX_LAUNCHING, len(self._links))
        pool = ThreadPoolExecutor(count, thread_name_prefix="launch")
        for link in self._links.values():
            link.is_launching = True
            self._launching[link.name] = pool.submit(link.transport.launch)
        pool.shutdown(wait=not any(link.transport.is_slow for link in self._links.values()))
        self._collect_launched()
        return self._new_reports()

    def turn(self) -> list[LinkReport]:
        self._collect_launched()
        now = time.monotonic()
        late_s = now - self._turned_at - LATE_S
        if late_s > 0:
            for link in self._links.values():
                link.was_late(late_s, now)
        self._turned_at = now
        is_repeat = now >= self._repeat_at
        if is_repeat:
            self._repeat_at = now + REPEAT_S
        for link in self._links.values():
            if link.is_launching:
                if link.must_end:
                    link.transport.give_up()
                continue
            if link.channel is not None:
                self._flush(link)
                self._ping(link, now)
                if is_repeat and not link.is_over:
                    self._give_orders(link)
            elif link.name in self._sweeping:
                self._collect_swept(link)
            elif not link.is_over:
                self._reach(link)
        return self._new_reports()

    def order(self, link: AgentLink, orders: tuple[Message, ...]) -> None:
        """Sends what the agent is to do now; it is sent again until the node's part is over.

        An order may reach an agent before it can follow it.
        """
        link.orders = orders
        self._give_orders(link)

    def ask(self) -> None:
        """Pings all agents: `AgentLink.is_in_doubt` until each has answered."""
        self._has_asked = True
        for link in self._links.values():
            if not link.is_over:
                link.is_asked = True
                self.send(link, messages.Ping())

    def _give_orders(self, link: AgentLink) -> None:
        for order in link.orders:
            self.send(link, order)

    def _new_reports(self) -> list[LinkReport]:
        reports, self._reports = self._reports, []
        return reports

    def _ping(self, link: AgentLink, now: float) -> None:
        """Checks that the agent answers. `NodeLoop` pings those over SSH."""
        if link.is_silent(now):
            self._lost(link, "its agent does not answer")
        elif not link.transport.is_remote and now >= link.pinged_at + PING_S:
            link.pinged_at = now
            link.silent_since = link.silent_since or now
            self.send(link, messages.Ping())

    def _answered(self, link: AgentLink) -> None:
        now = time.monotonic()
        link.is_frozen = False
        link.silent_since = now if link.transport.is_remote else None
        link.why = ""
        link.reported.clear()
        if link.is_away:
            link.is_away = False
            alone_s = round(link.alone_s(now), 3)
            self._reports.append((link, NodeReached(link.plan.attempt, link.name, alone_s)))
        link.alone_since = None

    def ready(self, channel: object) -> list[LinkReport]:
        """Something arrived on a channel."""
        for link in self._links.values():
            if link.channel is channel and link.channel is not None:
                self._receive(link, link.channel)
        return self._new_reports()

    def _receive(self, link: AgentLink, channel: Channel) -> None:
        for message in channel.receive():
            self._answered(link)
            try:
                if isinstance(message, messages.Pong):
                    link.is_asked = False
                    continue
                if isinstance(message, messages.Error):
                    log_line(f"{link.name}: its agent refused a command: {message.text}")
                    continue
                if not isinstance(message, (Report, *AGENT_EVENTS)):
                    raise Mismatch(f"{message.kind}: not what an agent reports")
                self._accept(link, message)
            except Mismatch as error:
                channel.bad_number = message.n if isinstance(message, (Report, Event)) else 0
                channel.close(f"damaged message: {error}")
                break
        if channel.closed and link.channel is channel:
            if channel.problem:
                log_line(f"{link.name}: connection closed: {channel.problem}")
                self._damaged(link, channel.bad_number, channel.problem)
            self._lost(link, channel.problem or "the connection ended")

    def _accept(self, link: AgentLink, report: Report | Event) -> None:
        """Skips one that was seen before. Raises `Mismatch` for one that it may not send."""
        if isinstance(report, Event):
            link.check(report)
        if report.n:
            if report.n <= link.last_n:
                return
            link.last_n = report.n
            link.may_launch = False
            if isinstance(report, Event) and report.n <= link.recorded_n:
                return
        link.has_died = link.has_died or isinstance(report, AgentDied)
        link.is_over = link.is_over or isinstance(report, NodeEnded)
        self._reports.append((link, report))

    def _damaged(self, link: AgentLink, number: int, why: str) -> None:
        """A report that is damaged twice is skipped: it will not get better."""
        if number > link.last_n and number == link.bad_n:
            link.last_n = number
            self._reports.append((link, ReportSkipped(link.plan.attempt, link.name, number, why)))
        link.bad_n = number

    def _read_journal(self, link: AgentLink) -> None:
        """The journal outlives its agent: its last reports are in there."""
        for n, line in link.transport.missed(link.last_n):
            if not self._handle_line(link, n, line):
                return  # retry at the next turn: the line may still be being written

    def _handle_line(self, link: AgentLink, n: int, line: dict[str, object]) -> bool:
        try:
            self._accept(link, messages.decode_report(line))
        except (Mismatch, UnknownKindError) as error:
            self._damaged(link, n, str(error))
            return link.last_n >= n
        return True

    def _reach(self, link: AgentLink) -> None:
        """Connects again; or ends the ranks without their agent when they must end."""
        if link.is_frozen and link.must_end:
            self._sweep(link, "does not answer")
        else:
            self.reconnect(link)

    def _sweep(self, link: AgentLink, why: str) -> None:
        """Not more often than every `SWEEP_S`, where it fails at once."""
        now = time.monotonic()
        if now >= link.sweep_at:
            link.sweep_at = now + SWEEP_S
            log_line(f"{link.name}: its agent {why}: its processes are ended without it")
            self._sweeping[link.name] = in_thread(link.transport.sweep)

    def _collect_swept(self, link: AgentLink) -> None:
        if self._sweeping[link.name].done():
            swept = self._sweeping.pop(link.name)
            try:
                leftover = swept.result()
            except NodeError as error:
                log_line(f"{link.name}: {error}")
                link.is_frozen = False
            else:
                if not link.has_died:
                    self._accept(link, AgentDied())
                self._read_journal(link)
                if not link.is_over:
                    self._accept(link, NodeEnded(leftover=leftover))

    def reconnect(self, link: AgentLink) -> None:
        link.alone_since = link.alone_since or time.monotonic()
        try:
            self._attach(link, link.transport.connect(link.may_launch))
            return
        except ConnectingError:
            self._missing(link, link.why or "it is being connected again")
        except (NodeError, ChannelClosedError) as error:
            self._detach(link)
            link.is_frozen = False
            self._missing(link, reason_of(error))
        # An agent that cannot be reached is not dead: nothing of its may be touched.
        is_alive = link.transport.is_agent_alive()
        self._read_journal(link)
        if not link.is_over and not is_alive:
            self._sweep(link, "is dead")

    def send(self, link: AgentLink, message: Message) -> None:
        """Sends it when there is a channel; orders are repeated, see `order`."""
        if link.channel is not None:
            try:
                link.channel.send(message)
            except ChannelClosedError as error:
                self._lost(link, str(error))

    def release(self, link: AgentLink, *, keep_warm: bool = False) -> None:
        """Lets an agent go whose part is over. `keep_warm`: it may wait for the next attempt."""
        self.send(link, messages.Leave(keep_warm))
        self._detach(link)

    def dismiss(self, *, keep_warm: bool, only_over: bool = False) -> None:
        """Lets agents go, and waits until they have heard it. `only_over`: whose part is over.

        Each once: the connections of those are the next attempt's then.
        """
        leaving = [
            link
            for link in self._links.values()
            if not link.is_dismissed and (link.is_over or not only_over)
        ]
        for link in leaving:
            link.is_dismissed = True
            self.release(link, keep_warm=keep_warm)
        for link in leaving:
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
            if link.must_end:
                continue  # it was given up
            is_lost = link.transport.is_remote or isinstance(why, LostNodeError)
            kind = FailureKind.NODE if is_lost else FailureKind.LAUNCH
            death = Death(link.name, time.time(), kind=kind, meaning=str(why))
            self._reports.append((link, Died(death)))
        for link in self._links.values():
            if failed:
                # Where nothing was started nothing has to be ended.
                link.is_over = True
            else:
                self.send(link, messages.Start(link.plan, link.secrets))
                # The agent ignored a stop that it got before its start.
                self._give_orders(link)

    def _attach(self, link: AgentLink, channel: Channel) -> None:
        link.channel = channel
        link.silent_since, link.pinged_at = time.monotonic(), 0.0
        self._selector.register(channel, selectors.EVENT_READ)
        channel.send(messages.Hello(link.last_n))
        if link.is_asked:
            channel.send(messages.Ping())
        if link.may_launch:
            # One that has it already ignores it.
            channel.send(messages.Start(link.plan))
        self._give_orders(link)

    def _detach(self, link: AgentLink) -> None:
        if link.channel is not None:
            for key in list(self._selector.get_map().values()):
                # A closed socket has no number any more: the selector is searched by object.
                if key.fileobj is link.channel:
                    self._selector.unregister(link.channel)
            link.channel.close()
            link.channel = None

    def _lost(self, link: AgentLink, why: str) -> None:
        self._detach(link)
        # Its answer may have been to a ping before that, on its way when the agent died.
        link.is_asked = link.is_asked or self._has_asked
        now = time.monotonic()
        link.is_frozen = link.is_silent(now + PING_S / 2)
        link.alone_since = link.alone_since or link.silent_since or now
        self._missing(link, why)
        if not link.is_over:
            self._reach(link)

    def _missing(self, link: AgentLink, why: str) -> None:
        """Reports its absence, and each new reason for it."""
        link.why = why
        alone_s = link.alone_s(time.monotonic())
        is_there = link.transport.is_remote or link.transport.is_agent_alive()
        is_there = is_there and not link.has_died
        is_new = why not in link.reported and len(link.reported) < MAX_REASONS
        if is_new and not link.is_over and alone_s > AWAY_S and is_there:
            link.is_away = True
            link.reported.add(why)
            event = NodeUnreachable(link.plan.attempt, link.name, round(alone_s, 3), why)
            self._reports.append((link, event))

    def _flush(self, link: AgentLink) -> None:
        try:
            if link.channel is not None:
                link.channel.flush()
        except ChannelClosedError as error:
            self._lost(link, str(error))
