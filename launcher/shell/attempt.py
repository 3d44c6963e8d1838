"""One attempt of a run: its node agents' messages become the run's events and its outcome."""

from __future__ import annotations

import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

from launcher.core import events
from launcher.core.codec import to_plain
from launcher.core.events import Failure, FailureKind
from launcher.core.failure import Death, name_failure
from launcher.core.plan import Plan
from launcher.core.state import RunStatus
from launcher.errors import NodeError
from launcher.shell import blame
from launcher.shell.channel import Channel, ChannelClosedError, Message
from launcher.shell.event_log import EventLog, Source
from launcher.shell.orders import NodeOrder
from launcher.shell.say import say
from launcher.shell.transport import Transport

SETTLE_S = 0.25
"""Between the first death and the verdict: what other nodes saw at the same time belongs to it."""
RECONNECT_S = 3.0
"""An agent that does not answer for this long is taken for dead on this machine."""


class Outcome(str, Enum):
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass
class NodeLink:
    """One node of the attempt. `last_n`: its agent's newest message that became an event."""

    transport: Transport
    order: NodeOrder
    last_n: int = 0
    channel: Channel | None = None
    is_over: bool = False
    alone_since: float | None = None
    exited: set[int] = field(default_factory=set)
    ended: Message | None = None

    @property
    def name(self) -> str:
        return self.transport.node


class Attempt:
    """Drives the agents of one attempt until all is over. `outcome` is known before `is_over`."""

    def __init__(
        self,
        plan: Plan,
        log: EventLog,
        links: tuple[NodeLink, ...],
        selector: selectors.BaseSelector,
        on_silent: Literal["report", "stop", "resume"] = "report",
    ) -> None:
        self._on_silent = on_silent
        self.plan = plan
        self.number = plan.attempt
        self.outcome: Outcome | None = None
        self.failure: Failure | None = None
        self.stop_asked: str | None = None
        self._log = log
        self._links = {link.name: link for link in links}
        self._selector = _Registry(selector)
        self._deaths: list[Death] = []
        self._decide_at: float | None = None
        self._node_of_rank = {p.rank: p.node for p in plan.ranks if p.rank is not None}
        self._training_started = False

    @property
    def is_over(self) -> bool:
        return self.outcome is not None and all(link.is_over for link in self._links.values())

    @property
    def leftover(self) -> tuple[int, ...]:
        ended = [link.ended for link in self._links.values() if link.ended is not None]
        return tuple(pid for message in ended for pid in message.get("leftover", ()))

    # -- beginning

    def launch(self) -> None:
        """Starts the agents and tells each its order."""
        for link in self._links.values():
            if not self._launch_node(link):
                break
        if self._deaths:
            for link in self._links.values():
                # Where nothing was started nothing has to be ended.
                link.is_over = link.channel is None
            self._end_others("the launch failed")

    def _launch_node(self, link: NodeLink) -> bool:
        try:
            self._attach(link, link.transport.launch())
            self._command(link, {"cmd": "start", "order": to_plain(link.order)})
        except (NodeError, ChannelClosedError) as error:
            self._died(blame.of_text(link.name, {"t": time.time(), "text": str(error)}))
            return False
        return True

    def adopt(self) -> None:
        """Takes over from a supervisor that died: connects and catches up."""
        state = self._log.state
        newest = state.attempt
        if newest is not None:
            self._training_started = newest.training_s is not None
            for rank in newest.ranks:
                if rank.has_exited:
                    self._link_of_rank(rank.rank).exited.add(rank.rank)
        if state.status is RunStatus.STOPPING:
            self.stop_asked = state.stop_by
        for link in self._links.values():
            link.last_n = self._log.seen.get((self.number, link.name), 0)
            self._reconnect(link)

    # -- turning

    def ready(self, channel: object) -> None:
        """Something arrived on a channel of this attempt."""
        for link in self._links.values():
            if link.channel is channel and link.channel is not None:
                for message in link.channel.receive():
                    self._take(link, message)
                if link.channel is not None and link.channel.closed:
                    self._lost(link)

    def turn(self) -> None:
        now = time.monotonic()
        for link in self._links.values():
            if link.channel is None and not link.is_over:
                self._reconnect(link)
            elif link.channel is not None:
                self._flush(link)
        if self._decide_at is not None and now >= self._decide_at and self.outcome is None:
            self._fail()
        if self.outcome is None and all(link.is_over for link in self._links.values()):
            self._conclude()

    def stop(self, save: bool, by: str) -> None:
        """Asks all nodes; a second call with `save` false hurries."""
        if self.outcome is not None:
            return
        if self.stop_asked is None or not save:
            self._log.add(events.StopRequested, by=by, save=save)
        self.stop_asked = self.stop_asked or by
        for link in self._links.values():
            self._try_command(link, {"cmd": "stop", "save": save, "by": by})

    def dismiss(self) -> None:
        """Lets the agents go."""
        for link in self._links.values():
            self._try_command(link, {"cmd": "leave"})
            self._detach(link)

    # -- agents

    def _attach(self, link: NodeLink, channel: Channel) -> None:
        link.channel = channel
        link.alone_since = None
        self._selector.register(channel)
        channel.send({"cmd": "hello", "after": link.last_n})

    def _detach(self, link: NodeLink) -> None:
        if link.channel is not None:
            self._selector.unregister(link.channel)
            link.channel.close()
            link.channel = None

    def _lost(self, link: NodeLink) -> None:
        self._detach(link)
        link.alone_since = time.monotonic()
        self._reconnect(link)

    def _reconnect(self, link: NodeLink) -> None:
        now = time.monotonic()
        link.alone_since = link.alone_since or now
        try:
            self._attach(link, link.transport.connect())
            return
        except (NodeError, ChannelClosedError):
            self._detach(link)
        # The journal outlives its agent: whatever it said last is in there.
        for n, message in link.transport.missed(link.last_n):
            self._take(link, {**message, "n": n})
        is_late = now - link.alone_since > RECONNECT_S
        # An agent that cannot be reached is not dead: nothing of its may be touched.
        if is_late and not link.is_over and not link.transport.is_agent_alive():
            leftover = link.transport.sweep()
            self._take(link, {"n": 0, "type": "agent_died", "leftover": list(leftover)})

    def _command(self, link: NodeLink, message: Message) -> None:
        if link.channel is not None:
            link.channel.send(message)

    def _flush(self, link: NodeLink) -> None:
        try:
            if link.channel is not None:
                link.channel.flush()
        except ChannelClosedError:
            self._lost(link)

    def _try_command(self, link: NodeLink, message: Message) -> None:
        try:
            self._command(link, message)
        except ChannelClosedError:
            self._lost(link)

    def _end_others(self, why: str) -> None:
        for link in self._links.values():
            if not link.is_over:
                self._try_command(link, {"cmd": "end", "why": why})

    # -- messages

    def _take(self, link: NodeLink, message: Message) -> None:
        """One message, once: a number that was seen before is skipped."""
        n = int(message.get("n", 0))
        if n:
            if n <= link.last_n:
                return
            link.last_n = n
        handler = getattr(self, f"_on_{message.get('type')}", None)
        if handler is not None:
            handler(link, message, (link.name, n) if n else None)

    def _on_rank_started(self, link: NodeLink, message: Message, source: Source | None) -> None:
        self._log.add(
            events.RankStarted,
            source,
            attempt=self.number,
            node=link.name,
            **_pick(message, "rank", "local_rank", "device", "pid", "start_time"),
        )

    def _on_training_started(self, link: NodeLink, message: Message, source: Source | None) -> None:
        if not self._training_started:
            self._training_started = True
            fields = _pick(message, "epochs", "steps_per_epoch")
            self._log.add(events.TrainingStarted, source, attempt=self.number, **fields)

    def _on_epoch_finished(self, link: NodeLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "epoch", "avg_loss")
        self._log.add(events.EpochFinished, source, attempt=self.number, **fields)

    def _on_checkpoint_saved(self, link: NodeLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "epoch", "step", "path", "bytes", "sha256")
        self._log.add(events.CheckpointWritten, source, attempt=self.number, **fields)

    def _on_eval_finished(self, link: NodeLink, message: Message, source: Source | None) -> None:
        fields = _pick(
            message, "epoch", "step", "loss", "top_1_acc", "top_5_acc", "images", "weights"
        )
        self._log.add(events.EvalFinished, source, attempt=self.number, **fields)

    def _on_rank_silent(self, link: NodeLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "rank", "phase", "silent_s")
        self._log.add(events.RankSilent, source, attempt=self.number, node=link.name, **fields)
        if self._on_silent != "report" and self.stop_asked is None:
            text = f"rank {message['rank']} is silent: {message.get('why')}"
            self._died(
                replace(
                    blame.of_text(link.name, {**message, "text": text}, FailureKind.HANG),
                    rank=message["rank"],
                )
            )

    def _on_rank_recovered(self, link: NodeLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "rank", "phase", "silent_s")
        self._log.add(events.RankRecovered, source, attempt=self.number, node=link.name, **fields)

    def _on_rank_exited(self, link: NodeLink, message: Message, source: Source | None) -> None:
        link.exited.add(message["rank"])
        self._log.add(
            events.RankExited,
            source,
            attempt=self.number,
            node=link.name,
            **_pick(message, "rank", "exit_code", "signal"),
        )
        if message.get("exit_code") != 0 and self.stop_asked is None:
            self._died(blame.of_exit(link.name, message))

    def _on_helper_exited(self, link: NodeLink, message: Message, source: Source | None) -> None:
        if self.stop_asked is None:
            self._died(blame.of_exit(link.name, message))

    def _on_launch_failed(self, link: NodeLink, message: Message, source: Source | None) -> None:
        self._died(blame.of_text(link.name, message))

    def _on_spread(self, link: NodeLink, message: Message, source: Source | None) -> None:
        ranks = ", ".join(map(str, message.get("ranks", ())))
        text = f"ranks {ranks} are still there long after the others were done"
        self._died(blame.of_text(link.name, {**message, "text": text}, FailureKind.HANG))

    def _salvage(self, link: NodeLink) -> None:
        """What the agent had not read of its ranks' logs; facts that are known are not new."""
        known = {(c.attempt, "checkpoint_saved", c.step) for c in self._log.state.checkpoints}
        known |= {(e.attempt, "epoch_finished", e.epoch) for e in self._log.state.epochs}
        known |= {(e.attempt or 0, "eval_finished", e.step or 0) for e in self._log.state.evals}
        for fact in link.transport.salvage(link.order):
            kind = str(fact.get("type"))
            count = fact.get("epoch" if kind == "epoch_finished" else "step") or 0
            if (self.number, kind, int(count)) not in known:
                self._take(link, {**fact, "n": 0})

    def _on_agent_died(self, link: NodeLink, message: Message, source: Source | None) -> None:
        self._salvage(link)
        self._died(blame.of_agent(link.name, message))
        self._over(link, message)
        for rank, node in self._node_of_rank.items():
            if node == link.name and rank not in link.exited:
                link.exited.add(rank)
                self._log.add(events.RankExited, attempt=self.number, rank=rank, node=node)

    def _on_node_ended(self, link: NodeLink, message: Message, source: Source | None) -> None:
        self._over(link, message)

    def _over(self, link: NodeLink, message: Message) -> None:
        link.ended = message
        link.is_over = True
        if message.get("leftover"):
            say(f"{link.name}: processes still there: {message['leftover']}")

    # -- ending

    def _died(self, death: Death) -> None:
        self._deaths.append(death)
        if self._decide_at is None:
            self._decide_at = time.monotonic() + SETTLE_S
            self._end_others("a rank died")

    def _fail(self) -> None:
        self._record_failure(name_failure(self._deaths, tuple(self._node_of_rank)))

    def _record_failure(self, failure: Failure) -> None:
        self.failure = failure
        self.outcome = Outcome.FAILED
        self._log.add(events.AttemptFailed, attempt=self.number, failure=failure)

    def _conclude(self) -> None:
        ended = [link.ended or {} for link in self._links.values()]
        step = max((int(message.get("step") or 0) for message in ended), default=0) or None
        stopped = any(message.get("stopped") for message in ended)
        if self._deaths and self.stop_asked is None:
            self._fail()
        elif self.stop_asked is not None or stopped:
            self.outcome = Outcome.STOPPED
            self._log.add(
                events.AttemptStopped, attempt=self.number, step=step, leftover=self.leftover
            )
        else:
            self.outcome = Outcome.FINISHED
            self._log.add(events.AttemptFinished, attempt=self.number, step=step)

    def _link_of_rank(self, rank: int) -> NodeLink:
        return self._links[self._node_of_rank[rank]]


def launch_failure(text: str) -> Failure:
    """A failure before any process was there."""
    return Failure(kind=FailureKind.LAUNCH, meaning=text, time=time.time())


class _Registry:
    """Registers channels for reading; forgetting one that was closed already is no error."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector

    def register(self, channel: Channel) -> None:
        self._selector.register(channel, selectors.EVENT_READ)

    def unregister(self, channel: Channel) -> None:
        for key in list(self._selector.get_map().values()):
            if key.fileobj is channel:
                self._selector.unregister(channel)


def _pick(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: message.get(name) for name in names}
