"""`python -m launcher.agent`: one per node and attempt. Starts, watches and ends its ranks.

    serve --root RUN --node NAME --attempt N [--host ADDRESS]
    guard --root RUN --node NAME --attempt N --child PID --file FD

`EFFNET_WATCHES` in its environment is the token of the processes that it starts.

The agent listens on a Unix socket. A supervisor sends `Hello(after=n)` and gets every journalled
report after number `n`, then new ones as they come; so a supervisor that died is replaced without a
lost or doubled report. Without any supervisor the agent trains on, and after `orphan_limit_s` saves
and ends its ranks. Messages: `launcher.core.messages`.

After a failed attempt it may stay with what has imported for its ranks, and become the agent of the
next attempt (`launcher.agent.processes.successor`). `guard` is what its guard becomes then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.agent import last_report
from launcher.agent.processes import successor
from launcher.agent.ranks import RankGroup
from launcher.agent.reports import Reports
from launcher.agent.stack_taker import StackTaker
from launcher.core import messages
from launcher.core.messages import Error, Message, Report
from launcher.core.run.events import Event
from launcher.core.run.paths import AttemptPaths, agent_part, endpoint_file, node_journal
from launcher.core.text.records import Record
from launcher.ipc.channel import AnyMessage, Channel, ChannelClosedError
from launcher.ipc.endpoint import Endpoint
from launcher.process import guard, ownership, private, spawn
from launcher.process.forking import Warm
from launcher.process.guard import Guarded
from launcher.process.log import log_line
from launcher.process.spawn import Exit, SpawnedProcess
from launcher.store.journal import Journal

TICK_S = 0.05
IDLE_LIMIT_S = 120.0
"""An agent that got no plan exits after this."""
OVER_LIMIT_S = 10.0
"""An agent whose ranks have ended exits when no supervisor is connected for this long. Nothing is
lost: a supervisor that comes later reads the end of the ranks in the journal."""


class Agent:
    """The loop: children, commands, logs, time."""

    def __init__(
        self,
        journal: Journal,
        endpoint: Endpoint,
        token: str,
        guarded: Guarded,
        warm: Sequence[Warm] = (),
    ) -> None:
        self._token = token
        self._guarded = guarded
        self._warm = warm
        """What the agent of the attempt before this one has kept."""
        self._stay_until = 0.0
        self._successor: messages.TakeOver | None = None
        self._reports = Reports(journal)
        self._endpoint = endpoint
        self._channels: list[Channel] = []
        self._monitors: dict[Channel, int] = {}
        """Those that mpirun started for a rank -> pid of the rank."""
        self._early: list[tuple[Channel, Message]] = []
        """What came from mpirun's processes before this node's plan."""
        self._selector = selectors.DefaultSelector()
        self._ranks: RankGroup | None = None
        self._stacks: StackTaker | None = None
        self._leave = False
        self._leave_when_over = False
        self._alone_since = time.monotonic()

    def run(self) -> Callable[[], int]:
        """-> what it does when its files are closed."""
        self._listen_to_signals()
        self._endpoint.open(self._selector)
        while not self._leave:
            # epoll hands out what happened in the order in which it happened: with one pidfd a
            # process, the first death of several at once is the first in this list.
            for key, _ in self._selector.select(TICK_S):
                if key.data is None:
                    self._ready(key.fileobj)
                else:
                    self._process_ended(key.fd, key.data)
            self._turn()
        return self._leave_or_go_on

    def _leave_or_go_on(self) -> int:
        kept = self._ranks.warm if self._ranks is not None else self._warm
        if self._successor is not None:
            successor.become(self._successor, self._guarded, kept)
        for warm in kept:
            # Gone before this process is: who sees that looks for nothing else.
            warm.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(warm.pid, 0)
        return 0

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._end("SIGTERM to the agent"))

    def _ready(self, source: object) -> None:
        if self._endpoint.is_at(source):
            channel = self._endpoint.accept()
            if channel is not None:
                self._channels.append(channel)
                self._selector.register(channel, selectors.EVENT_READ)
        elif isinstance(source, Channel):
            for message in source.receive():
                self._obey(source, message)
            if source.closed:
                if source.problem:
                    log_line(f"connection closed: {source.problem}")
                self._forget(source)

    def _process_ended(self, pidfd: int, pid: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        ended = spawn.reap_one(pid)
        if ended is not None and self._ranks is not None:
            self._ranks.child_ended(ended)

    def _turn(self) -> None:
        if self._ranks is not None:
            spawn.reap_others(self._ranks.awaits_end_of)
        now = time.monotonic()
        for channel in list(self._channels):
            self._flush(channel)
        self._endpoint.reopen_if_gone(now)
        self._reports.save()
        if self._channels:
            self._alone_since = now
        if self._ranks is None:
            if now - self._alone_since > IDLE_LIMIT_S:
                self._leave = True
            return
        self._ranks.turn(now)
        if self._stacks is not None:
            self._stacks.turn(now)
        alone_s = now - self._alone_since
        if self._ranks.is_over:
            is_alone = alone_s > OVER_LIMIT_S
            if self._stay_until:
                is_alone = now > self._stay_until or not self._ranks.warm
            self._leave |= self._leave_when_over or is_alone
        elif alone_s > self._ranks.plan.limits.orphan_limit_s:
            self._ranks.stop(save=True, why=f"no supervisor for {alone_s:.0f} s")

    def _obey(self, channel: Channel, message: AnyMessage) -> None:
        ranks = self._ranks
        match message:
            case messages.Ping():
                self._send(channel, messages.Pong(t=time.time()))
            case messages.Hello():
                self._reports.replay(channel, message.after)
            case messages.Start():
                if ranks is None:
                    plan = message.plan.with_secrets(message.secrets)
                    self._ranks = RankGroup(
                        plan, self._token, self._emit, self._selector, self._warm
                    )
                    pids = self._ranks.rank_pids
                    self._stacks = StackTaker(plan, self._token, pids, self._reports.emit)
                    self._ranks.start()
                    early, self._early = self._early, []
                    for source, request in early:
                        self._obey_mpirun(self._ranks, source, request)
            case messages.TakeStacks():
                if self._stacks is not None:
                    self._stacks.take(message.asked_s)
            case messages.Stop():
                if ranks is not None:
                    ranks.stop(save=message.save, why=message.by)
            case messages.End():
                if ranks is not None:
                    ranks.end(message.why)
            case messages.Finish():
                if ranks is not None:
                    ranks.finish()
            case messages.Leave() if message.keep_warm and ranks is not None and self._may_stay:
                self._stay(ranks)
            case messages.TakeOver():
                self._go_on(channel, message)
            case messages.Leave():
                self._leave_when_over = True
                if ranks is None:
                    self._leave = True
                elif not ranks.is_over:
                    ranks.end("the supervisor dismissed the agent")
            case messages.Register() | messages.StartDaemon():
                # It is no supervisor: it gets no reports, and alone with it the agent is alone.
                if channel in self._channels:
                    self._channels.remove(channel)
                self._monitors[channel] = 0
                if ranks is None:
                    self._early.append((channel, message))
                else:
                    self._obey_mpirun(ranks, channel, message)
            case messages.RankJoined() | messages.RankLeft():
                if ranks is not None:
                    self._obey_mpirun(ranks, channel, message)
            case Error():
                log_line(f"a supervisor refused a report: {message.text}")
            case _:
                self._send(channel, Error(f"an agent has no operation {message.kind!r}"))

    @property
    def _may_stay(self) -> bool:
        """Whether it has something that the next attempt can use."""
        is_over = self._ranks is not None and self._ranks.is_over and bool(self._ranks.warm)
        return is_over and not self._leave_when_over and self._guarded.is_guarded

    def _emit(self, report: Event | Report) -> None:
        """Whoever reads the end of the attempt finds the file that says: it can be continued.

        What waits has its own clock by then: it ends also if this process does nothing any more.
        """
        if isinstance(report, messages.NodeEnded) and self._ranks is not None and self._may_stay:
            self._limit_wait(self._ranks)
            report = replace(report, kept=self._ranks.kept)
        self._reports.emit(report)

    def _stay(self, ranks: RankGroup) -> None:
        self._stay_until = time.monotonic() + ranks.plan.keep_warm_s
        self._limit_wait(ranks)

    def _limit_wait(self, ranks: RankGroup) -> None:
        for warm in ranks.warm:
            warm.wait(ranks.plan.keep_warm_s)
        self._endpoint.is_warm(time.time() + ranks.plan.keep_warm_s)

    def _go_on(self, channel: Channel, order: messages.TakeOver) -> None:
        if not self._may_stay:
            self._send(channel, Error("nothing that the next attempt can use is kept here"))
            return
        self._successor, self._leave = order, True
        self._send(channel, messages.Accepted(os.getpid()))

    def _obey_mpirun(self, ranks: RankGroup, channel: Channel, message: Message) -> None:
        match message:
            case messages.Register():
                process = ranks.awaited(message.rank)
                if process is None:
                    self._send(channel, Error("the rank is not to run on this node now"))
                else:
                    self._send(channel, messages.RankPlan(process, ranks.token))
            case messages.StartDaemon():
                process = ranks.awaited(None)
                if process is None:
                    self._send(channel, Error("OpenMPI's daemon is not to run on this node now"))
                    return
                environment = {**process.environment, **message.environment}
                ranks.start_daemon(
                    replace(process, argv=message.argv, environment=environment, is_started=True)
                )
                self._send(channel, messages.Accepted())
            case messages.RankJoined():
                process = ranks.awaited(message.rank)
                if process is not None:
                    self._monitors[channel] = message.pid
                    ranks.joined(
                        SpawnedProcess(
                            process, message.pid, message.start_ticks, message.start_time_s
                        )
                    )
            case messages.RankLeft():
                self._monitors[channel] = 0
                ranks.child_ended(
                    Exit(message.pid, message.exit_code, message.signal, message.time_s)
                )

    def _end(self, why: str) -> None:
        self._leave_when_over = True
        if self._ranks is None:
            self._leave = True
        elif not self._ranks.is_over:
            self._ranks.stop(save=True, why=why)

    def _flush(self, channel: Channel) -> None:
        with contextlib.suppress(ChannelClosedError):
            channel.flush()
        self._forget_if_closed(channel)

    def _send(self, channel: Channel, message: Record) -> None:
        with contextlib.suppress(ChannelClosedError):
            channel.send(message)
        self._forget_if_closed(channel)

    def _forget_if_closed(self, channel: Channel) -> None:
        """One to which nothing can be sent stays: its peer may have sent a message before."""
        if channel.closed:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
        self._reports.disconnect(channel)
        pid = self._monitors.pop(channel, 0)
        if pid and self._ranks is not None:
            # Its killer leaves the rank without a parent, which the kernel then ends.
            self._ranks.child_ended(Exit(pid, None, signal.SIGKILL, time.time(), is_seen=False))
        # A closed socket has no number any more: the selector is searched by object.
        for key in list(self._selector.get_map().values()):
            if key.fileobj is channel:
                self._selector.unregister(channel)
        channel.close()


def serve(arguments: argparse.Namespace) -> int:
    root, token = Path(arguments.root), os.environ[ownership.WATCHES]
    attempt_root = root / "attempts" / f"{arguments.attempt:03d}"
    journal_path = node_journal(attempt_root, arguments.node)
    journal = Journal(journal_path)
    endpoint = Endpoint(
        root,
        agent_part(arguments.attempt, arguments.node),
        endpoint_file(journal_path),
        arguments.host,
        token,
    )

    kept = successor.received(arguments.guarded) if arguments.guarded else (Guarded(), [])

    def agent() -> int:
        guard.become_subreaper()
        try:
            go_on = Agent(journal, endpoint, token, *kept).run()
        finally:
            endpoint.close()
        return go_on()

    def died(status: int) -> None:
        """At once: the supervisor ends the other nodes. The journal cuts off a torn last line."""
        ended = spawn.exit_of(0, status)
        with contextlib.suppress(OSError):
            report = messages.AgentDied(ended.exit_code, ended.signal)
            last_report.append(journal, report, sync=False)

    if arguments.guarded:
        guard.exit_with(agent)
    if arguments.command == successor.GUARD:
        left = guard.watch(token, arguments.child, died, Guarded(file=arguments.file))
    else:
        left = guard.run_guarded(token, agent, died, kept[0])
    if left is None:
        return 0
    last_report.write(journal_path, AttemptPaths(attempt_root), arguments.attempt, left)
    endpoint_file(journal_path).unlink(missing_ok=True)
    return 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launcher.agent", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in (successor.SERVE, successor.GUARD):
        part = commands.add_parser(name)
        part.add_argument("--root", required=True)
        part.add_argument("--node", required=True)
        part.add_argument("--attempt", type=int, required=True)
        part.add_argument("--host", default="", help="address to listen on for other machines, too")
        part.add_argument("--guarded", default="", help="what the agent before this one has kept")
        part.add_argument("--child", type=int, help="the agent that is guarded")
        part.add_argument("--file", type=int, default=-1, help="what the two share")
    private.apply_umask()
    return serve(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
