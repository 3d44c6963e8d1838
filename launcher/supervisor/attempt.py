"""One attempt of a run: its node agents' messages become the run's events and its outcome."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from launcher.core.diagnosis.failure import Death, name_failure
from launcher.core.plan.model import Plan
from launcher.core.profile.model import Profile
from launcher.core.run import events
from launcher.core.run.events import Failure, FailureKind
from launcher.core.run.fold import RunStatus
from launcher.errors import NodeError
from launcher.ipc.channel import Message
from launcher.process.log import log_line
from launcher.store.event_log import EventLog, Source
from launcher.supervisor import deaths
from launcher.supervisor.agent_links import AgentLink, AgentLinks

SETTLE_S = 0.25
"""Between the first death and the verdict: what other nodes saw at the same time belongs to it."""

VERIFY_S = 60.0
"""More than any node needs, for a last look at one that comes back."""


class Outcome(str, Enum):
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Attempt:
    """Drives the agents of one attempt until all is over. `outcome` is known before `is_over`."""

    def __init__(
        self,
        plan: Plan,
        log: EventLog,
        links: tuple[AgentLink, ...],
        selector: selectors.BaseSelector,
        profile: Profile,
    ) -> None:
        self._on_silent = profile.retry.on_silent
        self._limits = profile.limits
        self.plan = plan
        self.number = plan.attempt
        self.outcome: Outcome | None = None
        self.failure: Failure | None = None
        self.stop_asked: str | None = None
        self._log = log
        self._links = AgentLinks(links, selector, self)
        self._stop_saves = True
        self._end_why = ""
        self._deaths: list[Death] = []
        self._decide_at: float | None = None
        self._node_of_rank = {p.rank: p.node for p in plan.ranks if p.rank is not None}
        self._training_started = False
        self._first_exit: float | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome is not None and all(link.is_over for link in self._links)

    @property
    def leftover(self) -> tuple[int, ...]:
        ended = [link.ended for link in self._links if link.ended is not None]
        return tuple(pid for message in ended for pid in message.get("leftover", ()))

    # -- turning

    def launch(self) -> None:
        """Starts the agents and tells each its order."""
        self._links.launch()

    def adopt(self) -> None:
        """Takes over from a supervisor that died: connects and catches up."""
        state = self._log.state
        newest = state.attempt
        if newest is not None:
            self._training_started = newest.training_s is not None
            for rank in newest.ranks:
                if rank.has_exited:
                    self._link_of_rank(rank.rank).exited.add(rank.rank)
                    self._first_exit = time.monotonic()
        if state.status is RunStatus.STOPPING:
            self.stop_asked = state.stop_by
            self._stop_saves = state.stop_saves is not False
        for link in self._links:
            link.last_n = self._log.seen.get((self.number, link.name), 0)
            link.is_away = newest is not None and link.name in newest.unreachable
            self._links.reconnect(link)

    def ready(self, channel: object) -> None:
        """Something arrived on a channel of this attempt."""
        self._links.ready(channel)

    def turn(self) -> None:
        self._links.turn()
        now = time.monotonic()
        for link in self._links:
            if self.outcome is not None and link.is_over:
                # Another node may be away for long: this one need not wait for it.
                self._links.release(link)
            elif link.transport.is_remote and link.channel is None and not link.is_over:
                self._look_at_absence(link, link.alone_s(now))
        self._look_at_spread(now)
        if self._decide_at is not None and now >= self._decide_at and self.outcome is None:
            self._fail()
        if self.outcome is None and all(link.is_over for link in self._links):
            self._conclude()

    def stop(self, save: bool, by: str) -> None:
        """Asks all nodes; a second call with `save` false hurries."""
        if self.outcome is not None:
            return
        if self.stop_asked is None or not save:
            self._log.add(events.StopRequested, by=by, save=save)
        self.stop_asked = self.stop_asked or by
        self._stop_saves = save
        for link in self._links:
            self._links.tell(link, {"cmd": "stop", "save": save, "by": by})

    def dismiss(self) -> None:
        """Lets the agents go."""
        self._links.dismiss()

    def _end_others(self, why: str) -> None:
        self._end_why = self._end_why or why
        for link in self._links:
            if not link.is_over:
                self._links.tell(link, {"cmd": "end", "why": why})

    # -- links

    def greeted(self, link: AgentLink) -> None:
        """What was asked for while there was no channel."""
        if self._are_ranks_done:
            self._links.tell(link, {"cmd": "finish"})
        if self._end_why:
            self._links.tell(link, {"cmd": "end", "why": self._end_why})
        elif self.stop_asked is not None:
            stop = {"cmd": "stop", "save": self._stop_saves, "by": self.stop_asked}
            self._links.tell(link, stop)

    def away(self, link: AgentLink, alone_s: float, why: str) -> None:
        fields: Message = {"silent_s": round(alone_s, 3), "why": why}
        self._log.add(events.NodeUnreachable, attempt=self.number, node=link.name, **fields)

    def back(self, link: AgentLink, alone_s: float) -> None:
        silent_s = round(alone_s, 3)
        self._log.add(events.NodeReached, attempt=self.number, node=link.name, silent_s=silent_s)

    def launch_failed(self, link: AgentLink, error: Exception) -> None:
        kind = FailureKind.NODE if link.transport.is_remote else FailureKind.LAUNCH
        self._died(deaths.of_text(link.name, {"t": time.time(), "text": str(error)}, kind))

    def _look_at_absence(self, link: AgentLink, alone_s: float) -> None:
        limits = self._limits
        if alone_s > limits.unreachable_s and self.outcome is None and not link.is_given_up:
            link.is_given_up = True
            text = f"{link.name} can't be reached since {alone_s:.0f} s; its ranks may still run"
            self._died(
                deaths.of_text(link.name, {"t": time.time(), "text": text}, FailureKind.NODE)
            )
        # By then its agent has ended its ranks without being told.
        alone_limit_s = limits.orphan_limit_s + limits.stop_save_s + limits.term_s + limits.kill_s
        if self.outcome is not None and alone_s > alone_limit_s + VERIFY_S:
            log_line(
                f"{link.name}: still not reached; nobody looked whether anything is left there"
            )
            link.is_over = True

    # -- messages

    def took(self, link: AgentLink, message: Message) -> None:
        """One message, once: a number that was seen before is skipped."""
        n = int(message.get("n", 0))
        if n:
            if n <= link.last_n:
                return
            link.last_n = n
        if link.transport.is_remote:
            message = self._from_afar(link, message)
        handler = getattr(self, f"_on_{message.get('type')}", None)
        if handler is not None:
            handler(link, message, (link.name, n) if n else None)

    def _from_afar(self, link: AgentLink, message: Message) -> Message:
        """Our clock's time, and the copy of a log instead of the log."""
        if isinstance(message.get("time"), float):
            message = {**message, "time": message["time"] - link.transport.clock_ahead_s}
        log, root = str(message.get("log", "")), f"{link.order.root}/"
        if log.startswith(root):
            message = {**message, "log": f"{self.plan.run_directory}/{log.removeprefix(root)}"}
        return message

    def _on_rank_started(self, link: AgentLink, message: Message, source: Source | None) -> None:
        self._log.add(
            events.RankStarted,
            source,
            attempt=self.number,
            node=link.name,
            **_pick(message, "rank", "local_rank", "device", "pid", "start_time"),
        )

    def _on_training_started(
        self, link: AgentLink, message: Message, source: Source | None
    ) -> None:
        if not self._training_started:
            self._training_started = True
            fields = _pick(message, "epochs", "steps_per_epoch")
            self._log.add(events.TrainingStarted, source, attempt=self.number, **fields)

    def _on_epoch_finished(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "epoch", "avg_loss")
        self._log.add(events.EpochFinished, source, attempt=self.number, **fields)

    def _on_checkpoint_saved(
        self, link: AgentLink, message: Message, source: Source | None
    ) -> None:
        fields = _pick(message, "epoch", "step", "path", "bytes", "sha256")
        self._log.add(events.CheckpointWritten, source, attempt=self.number, **fields)

    def _on_eval_finished(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(
            message, "epoch", "step", "loss", "top_1_acc", "top_5_acc", "images", "weights"
        )
        self._log.add(events.EvalFinished, source, attempt=self.number, **fields)

    def _on_rank_silent(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "rank", "phase", "silent_s")
        self._log.add(events.RankSilent, source, attempt=self.number, node=link.name, **fields)
        if self._on_silent != "report" and self.stop_asked is None:
            text = f"rank {message['rank']} is silent: {message.get('why')}"
            self._died(
                replace(
                    deaths.of_text(link.name, {**message, "text": text}, FailureKind.HANG),
                    rank=message["rank"],
                )
            )

    def _on_rank_recovered(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "rank", "phase", "silent_s")
        self._log.add(events.RankRecovered, source, attempt=self.number, node=link.name, **fields)

    def _on_rank_exited(self, link: AgentLink, message: Message, source: Source | None) -> None:
        link.exited.add(message["rank"])
        self._log.add(
            events.RankExited,
            source,
            attempt=self.number,
            node=link.name,
            **_pick(message, "rank", "exit_code", "signal"),
            was_done=bool(message.get("was_done")),
        )
        self._first_exit = self._first_exit or time.monotonic()
        if self._are_ranks_done:
            for other in self._links:
                self._links.tell(other, {"cmd": "finish"})
        if message.get("exit_code") == 0 or self.stop_asked is not None:
            return
        if message.get("was_done"):
            # MindSpore's own leave-taking has failed: everything that counts was there before.
            how = message.get("signal") or f"exit code {message.get('exit_code')}"
            log_line(f"rank {message['rank']} on {link.name} was done, then ended by {how}")
        else:
            self._died(deaths.of_exit(link.name, message))

    def _on_helper_exited(self, link: AgentLink, message: Message, source: Source | None) -> None:
        if self.stop_asked is None:
            self._died(deaths.of_exit(link.name, message))

    def _on_launch_failed(self, link: AgentLink, message: Message, source: Source | None) -> None:
        self._died(deaths.of_text(link.name, message))

    def _on_disk_low(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "path", "free_bytes", "needed_bytes")
        self._log.add(events.DiskLow, source, attempt=self.number, node=link.name, **fields)

    def _on_disk_recovered(self, link: AgentLink, message: Message, source: Source | None) -> None:
        fields = _pick(message, "path", "free_bytes")
        self._log.add(events.DiskRecovered, source, attempt=self.number, node=link.name, **fields)

    def _on_trouble(self, link: AgentLink, message: Message, source: Source | None) -> None:
        log_line(f"{link.name}: {message.get('text')}")

    def _on_spread(self, link: AgentLink, message: Message, source: Source | None) -> None:
        self._lagging(link, message.get("ranks", ()), float(message["t"]))

    def _look_at_spread(self, now: float) -> None:
        """Ranks of one node that outstay those of all others: no agent sees that alone."""
        if self._first_exit is None or self._decide_at is not None or self.stop_asked is not None:
            return
        for link in self._links:
            node = (rank for rank, name in self._node_of_rank.items() if name == link.name)
            lagging = [rank for rank in node if rank not in link.exited]
            # The node's own agent first ends those that are done and do not leave.
            limit_s = 2 * link.order.limits.spread_s
            if lagging and link.channel is not None and now - self._first_exit > limit_s:
                self._lagging(link, lagging, time.time())
                return

    def _lagging(self, link: AgentLink, ranks: Iterable[int], time_s: float) -> None:
        names = ", ".join(map(str, ranks))
        text = f"ranks {names} are still there long after the others were done"
        self._died(deaths.of_text(link.name, {"t": time_s, "text": text}, FailureKind.HANG))

    def _salvage(self, link: AgentLink) -> None:
        """What the agent had not read of its ranks' logs; facts that are known are not new."""
        known = {(c.attempt, "checkpoint_saved", c.step) for c in self._log.state.checkpoints}
        known |= {(e.attempt, "epoch_finished", e.epoch) for e in self._log.state.epochs}
        known |= {(e.attempt or 0, "eval_finished", e.step or 0) for e in self._log.state.evals}
        for fact in link.transport.salvage(link.order):
            kind = str(fact.get("type"))
            count = fact.get("epoch" if kind == "epoch_finished" else "step") or 0
            if (self.number, kind, int(count)) not in known:
                self.took(link, {**fact, "n": 0})

    def _on_agent_died(self, link: AgentLink, message: Message, source: Source | None) -> None:
        self._salvage(link)
        self._died(deaths.of_agent(link.name, message))
        self._over(link, message)
        for rank, node in self._node_of_rank.items():
            if node == link.name and rank not in link.exited:
                link.exited.add(rank)
                self._log.add(events.RankExited, attempt=self.number, rank=rank, node=node)

    def _on_node_ended(self, link: AgentLink, message: Message, source: Source | None) -> None:
        self._over(link, message)

    def _over(self, link: AgentLink, message: Message) -> None:
        link.ended = message
        link.is_over = True
        if message.get("leftover"):
            log_line(f"{link.name}: processes still there: {message['leftover']}")

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
        ended = [link.ended or {} for link in self._links]
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

    @property
    def _are_ranks_done(self) -> bool:
        """Whether every rank of every node has exited."""
        return sum(len(link.exited) for link in self._links) == len(self._node_of_rank)

    def _link_of_rank(self, rank: int) -> AgentLink:
        return self._links[self._node_of_rank[rank]]


def launch_failure(error: Exception) -> Failure:
    """A failure before any process was there."""
    node = error.node if isinstance(error, NodeError) else None
    kind = FailureKind.LAUNCH if node is None else FailureKind.NODE
    return Failure(kind=kind, meaning=str(error), time=time.time(), node=node)


def _pick(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: message.get(name) for name in names}
