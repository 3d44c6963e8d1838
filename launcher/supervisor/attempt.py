"""One attempt of a run: its node agents' messages become the run's events and its outcome."""

from __future__ import annotations

import math
import selectors
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from pathlib import Path

from launcher.agent.deaths import lagging_text
from launcher.core import messages
from launcher.core.diagnosis.failure import AGENT, Death
from launcher.core.messages import Report
from launcher.core.plan.model import Plan
from launcher.core.profile.model import Profile
from launcher.core.run import events
from launcher.core.run.events import Event, FailureKind
from launcher.core.run.paths import RunPaths
from launcher.core.run.state import RunStatus
from launcher.process.log import log_line
from launcher.store.event_log import EventLog
from launcher.supervisor.agent_link import AgentLink, LinkReport
from launcher.supervisor.agent_links import AgentLinks
from launcher.supervisor.stack_rounds import StackRounds
from launcher.supervisor.verdict import Verdict

LEFT_OUT = "the run continues without this node"

VERIFY_S = 60.0
"""More than any node needs, for a last look at one that comes back."""


class Outcome(str, Enum):
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Attempt:
    """Drives the agents of one attempt until all is over. `outcome` is known before `is_over`.

    `on_stopped`: called when the ranks have stopped unasked; it may know who did that, and `stop`.
    """

    def __init__(
        self,
        plan: Plan,
        log: EventLog,
        links: tuple[AgentLink, ...],
        selector: selectors.BaseSelector,
        profile: Profile,
        on_stopped: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_stopped = on_stopped
        self._on_silent = profile.retry.on_silent
        self._limits = profile.limits
        self.plan = plan
        self.number = plan.attempt
        self.outcome: Outcome | None = None
        self.stop_asked: str | None = None
        self._log = log
        self._links = AgentLinks(links, selector)
        paths = RunPaths(Path(plan.run_directory)).attempt(plan.attempt)
        self.stacks = StackRounds(plan, self._links, log, paths)
        self._hangs: list[Death] = []
        """Hangs that end the attempt as soon as the stacks of all ranks are known."""
        self._stop_saves = True
        self._end_why = ""
        self._verdict = Verdict(plan)
        self._node_of_rank = {p.rank: p.node for p in plan.ranks if p.rank is not None}
        self._training_started = False
        self._first_exit: float | None = None
        self._stop_until = math.inf
        """From then on, without saving, ranks are ended whose agent does not answer."""

    @property
    def is_over(self) -> bool:
        return self.outcome is not None and all(link.is_over for link in self._links)

    @property
    def is_failing(self) -> bool:
        """Whether something died, and the verdict is still open."""
        return self.outcome is None and self._verdict.is_open

    @property
    def absent(self) -> tuple[str, ...]:
        """Nodes of a failed attempt of which nobody knows what still runs there."""
        if self.outcome is not Outcome.FAILED:
            return ()
        return tuple(link.name for link in self._links if not link.is_over)

    @property
    def is_settled(self) -> bool:
        """Whether it has failed and all is over, but for nodes away for `unreachable_s`."""
        now, limit_s = time.monotonic(), self._limits.unreachable_s
        return self.outcome is Outcome.FAILED and all(
            link.is_over or link.alone_s(now) > limit_s for link in self._links
        )

    def was_reached(self, node: str) -> bool:
        """Whether the node itself said that nothing of the attempt is left there."""
        return self._links[node].ended is not None

    # -- turning

    def launch(self) -> None:
        """Starts the agents, and sends each its part of the plan."""
        self._handle(self._links.launch())

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
                # One that the supervisor before this one ended for it stays the cause.
                if rank.silent_why and self._on_silent != "report":
                    text = f"rank {rank.rank} is silent: {rank.silent_why}"
                    link = self._link_of_rank(rank.rank)
                    self._hangs.append(self._death(link, FailureKind.HANG, text, rank.rank))
        if state.status is RunStatus.STOPPING:
            self._want_stop(state.stop_saves is not False, state.stop_by or "")
        for link in self._links:
            link.orders = self._orders()
            # A death is no event before it is decided: all reports are read again.
            link.recorded_n = self._log.seen.get((self.number, link.name), 0)
            link.may_launch = link.recorded_n == 0
            link.is_away = newest is not None and link.name in newest.unreachable
            self._links.reconnect(link)

    def adopt_absent(self) -> None:
        """Takes over the links to nodes that the run has left out: whatever runs there ends."""
        self.outcome = Outcome.FAILED
        self._end_why = LEFT_OUT
        for link in self._links:
            link.orders = self._orders()
            link.recorded_n = self._log.seen.get((self.number, link.name), 0)
            link.is_away = True
            self._links.reconnect(link)

    def ready(self, channel: object) -> None:
        """Something arrived on a channel of this attempt."""
        self._handle(self._links.ready(channel))

    def turn(self) -> None:
        now = time.monotonic()
        for link in self._links:
            link.must_end = bool(self._end_why) or link.is_given_up or now >= self._stop_until
        self._handle(self._links.turn())
        for link in self._links:
            if self.outcome is not None and link.is_over and not self.may_keep_warm:
                # Another node may be away for long: this one need not wait for it.
                self._links.release(link)
            elif link.alone_since is not None and not link.is_over:
                self._look_at_absence(link, link.alone_s(now))
        self.stacks.turn(now)
        if self._hangs and not self.stacks.is_open:
            hangs, self._hangs = self._hangs, []
            for death in hangs:
                text = "; ".join(filter(None, (death.meaning, self.stacks.words)))
                self._died(replace(death, meaning=text))
        self._look_at_spread(now)
        if self.outcome is None and self._verdict.is_due(now, self._links):
            self._fail()
        is_undecided = self.outcome is None and not self._verdict.is_open
        if is_undecided and all(link.is_over for link in self._links):
            self._conclude()

    def stop(self, save: bool, by: str) -> None:
        """Asks all nodes; a second call with `save` false hurries."""
        if self.outcome is not None:
            return
        if self.stop_asked is None or not save:
            self._log.add(events.StopRequested(by, save))
        self._want_stop(save, by)
        self._give_orders()

    def cancel(self, by: str) -> None:
        """Something outside ends all processes: those that died already died of that."""
        if self.outcome is None:
            self._verdict.drop()
            self._hangs.clear()
            self.stop(False, by)

    def _want_stop(self, save: bool, by: str) -> None:
        self.stop_asked = self.stop_asked or by
        self._stop_saves = save
        until = time.monotonic() + (self._limits.stop_save_s if save else 0.0)
        self._stop_until = min(self._stop_until, until)

    @property
    def may_keep_warm(self) -> bool:
        """Whether its agents are let go only when it is known what follows."""
        is_failed = self.outcome is Outcome.FAILED and self.stop_asked is None
        is_there = all(link.is_over or link.channel is not None for link in self._links)
        return is_failed and self.plan.keep_warm_s > 0 and is_there

    def dismiss(self, *, keep_warm: bool = False, is_last: bool = True) -> None:
        """Lets the agents go. `keep_warm`: they may wait for the next attempt.

        `is_last`: that does not follow by itself, so people see what waits for it.
        """
        if keep_warm:
            log_line(f"its agents wait {self.plan.keep_warm_s:g} s for the next attempt")
        self._links.dismiss(keep_warm=keep_warm)
        kept = self._kept() if keep_warm else ()
        if is_last and (kept or self._log.state.kept is not None):
            until_s = time.time() + self.plan.keep_warm_s if kept else None
            self._log.add(events.ProcessesKept(self.number, kept, until_s))

    def leave_absent(self) -> None:
        """Lets all agents go but those of nodes that do not answer."""
        self._links.dismiss(keep_warm=False, only_over=True)

    def _kept(self) -> tuple[events.KeptProcess, ...]:
        return tuple(
            replace(process, is_here=not link.transport.is_remote)
            for link in self._links
            for process in (() if link.ended is None else link.ended.kept)
        )

    def _end_others(self, why: str) -> None:
        self._end_why = self._end_why or why
        self._give_orders()

    def _orders(self) -> tuple[messages.Message, ...]:
        """What every agent is to do now."""
        finish = (messages.Finish(),) if self._are_ranks_done else ()
        if self._end_why:
            return (*finish, messages.End(self._end_why))
        if self.stop_asked is not None:
            return (*finish, messages.Stop(self._stop_saves, self.stop_asked))
        return finish

    def _give_orders(self) -> None:
        for link in self._links:
            if not link.is_over:
                self._links.order(link, self._orders())

    # -- links

    def _look_at_absence(self, link: AgentLink, alone_s: float) -> None:
        limits = self._limits
        if alone_s > limits.unreachable_s and self.outcome is None and not link.is_given_up:
            link.is_given_up = True
            why = f": {link.why}" if link.why else ""
            text = f"{link.name} has not answered for {alone_s:.1f} s{why}; its ranks may still run"
            self._died(self._death(link, FailureKind.NODE, text))
        # By then its agent has ended its ranks, as without any supervisor.
        alone_limit_s = limits.orphan_limit_s + limits.stop_save_s + limits.term_s + limits.kill_s
        if self.outcome is not None and alone_s > alone_limit_s + VERIFY_S:
            log_line(
                f"{link.name}: still not reached; nobody looked whether anything is left there"
            )
            link.is_over = True

    # -- reports

    def _handle(self, reports: list[LinkReport]) -> None:
        for link, report in reports:
            self._received(link, report)

    def _received(self, link: AgentLink, report: Report | Event) -> None:
        match report:
            case events.RankExited():
                self._rank_exited(link, report)
            case events.RankSilent():
                self._add(link, report)
                self.stacks.ask(f"rank {report.rank} is silent", is_silent=True)
                if self._on_silent != "report" and self.stop_asked is None:
                    text = f"rank {report.rank} is silent: {report.why}"
                    self._hangs.append(self._death(link, FailureKind.HANG, text, report.rank))
            case messages.StacksOfRank():
                self.stacks.add(report)
            case events.TrainingStarted():
                # A script's first step may be known after it counts as running.
                if not self._training_started or report.epochs is not None:
                    self._training_started = True
                    self._add(link, report)
            case events.ReportSkipped():
                self._log.add(report, (link.name, report.number))
            case Event():
                self._add(link, report)
            case messages.Died():
                is_exit = report.death.kind is None
                if not (is_exit and self.stop_asked is not None):
                    self._died(link.from_afar(report.death, self.plan.run_directory))
            case messages.AgentDied():
                self._agent_died(link, report)
            case messages.NodeEnded():
                self._node_ended(link, report)
            case messages.Trouble():
                log_line(f"{link.name}: {report.text}")

    def _add(self, link: AgentLink, event: Event) -> None:
        self._log.add(event, (link.name, event.n) if event.n else None)

    def _rank_exited(self, link: AgentLink, event: events.RankExited) -> None:
        link.exited.add(event.rank)
        self._add(link, event)
        self._first_exit = self._first_exit or time.monotonic()
        if self._are_ranks_done:
            self._give_orders()
        if event.was_done and event.exit_code != 0 and self.stop_asked is None:
            # MindSpore's shutdown has failed: all results were written before.
            how = event.signal or f"exit code {event.exit_code}"
            log_line(f"rank {event.rank} on {link.name} was done, then ended by {how}")

    def _look_at_spread(self, now: float) -> None:
        """Ranks of one node that outstay those of all others: no agent sees that alone."""
        if self._first_exit is None or self._verdict.is_open or self.stop_asked is not None:
            return
        for link in self._links:
            lagging = [rank for rank in self._ranks_on(link) if rank not in link.exited]
            # The node's own agent first ends those that are done and do not leave.
            limit_s = 2 * self._limits.spread_s
            if lagging and link.channel is not None and now - self._first_exit > limit_s:
                self._died(self._death(link, FailureKind.HANG, lagging_text(lagging)))
                return

    def _agent_died(self, link: AgentLink, report: messages.AgentDied) -> None:
        number, code = report.signal, report.exit_code
        how = f"by signal {number}" if number is not None else f"with exit code {code}"
        how = "without a trace" if number is None and code is None else how
        what = "did not answer and was ended" if link.is_frozen else f"ended {how}"
        text = f"the node agent on {link.name} {what}, and its ranks with it; resume the run"
        if self.stop_asked is None or self._stop_saves:
            death = Death(
                link.name,
                report.t or time.time(),
                role=AGENT,
                exit_code=code,
                signal=number,
                kind=FailureKind.NODE,
                meaning=text,
            )
            self._died(link.from_afar(death, self.plan.run_directory) if report.t else death)

    def _node_ended(self, link: AgentLink, report: messages.NodeEnded) -> None:
        link.ended = report
        self._over(link, report.leftover)
        for rank in self._ranks_on(link) if link.has_died else ():
            if rank not in link.exited:
                link.exited.add(rank)
                self._log.add(events.RankExited(self.number, rank, link.name))

    def _over(self, link: AgentLink, leftover: tuple[int, ...]) -> None:
        link.leftover = leftover
        link.is_over = True
        if leftover:
            log_line(f"{link.name}: processes still there: {list(leftover)}")

    # -- ending

    def _death(
        self, link: AgentLink, kind: FailureKind, text: str, rank: int | None = None
    ) -> Death:
        return Death(link.name, time.time(), rank, kind=kind, meaning=text)

    def _died(self, death: Death) -> None:
        if self._verdict.add(death):
            self._links.ask()
            self._end_others("a rank died")

    def _fail(self) -> None:
        self.outcome = Outcome.FAILED
        self._log.add(events.AttemptFailed(self.number, self._verdict.failure()))

    def _conclude(self) -> None:
        ended = [link.ended for link in self._links if link.ended is not None]
        step = max((report.step for report in ended), default=0) or None
        has_stopped = not self._are_ranks_done or any(report.has_stopped for report in ended)
        if has_stopped and self.stop_asked is None:
            self._on_stopped()
        if self.stop_asked is not None or has_stopped:
            self.outcome = Outcome.STOPPED
            leftover = tuple(pid for link in self._links for pid in link.leftover)
            self._log.add(events.AttemptStopped(self.number, step, leftover))
        else:
            self.outcome = Outcome.FINISHED
            self._log.add(events.AttemptFinished(self.number, step))

    @property
    def _are_ranks_done(self) -> bool:
        """Whether every rank of every node has exited. An agent may end before it starts any."""
        return sum(len(link.exited) for link in self._links) == len(self._node_of_rank)

    def _ranks_on(self, link: AgentLink) -> list[int]:
        return [rank for rank, node in self._node_of_rank.items() if node == link.name]

    def _link_of_rank(self, rank: int) -> AgentLink:
        return self._links[self._node_of_rank[rank]]
