"""`python -m launcher.agent`: one per node and attempt. Starts, watches and ends its ranks.

    serve --root RUN --node NAME --attempt N --token TOKEN

The agent listens on a Unix socket. Whoever connects says `{"cmd": "hello", "after": n}` and gets
every journalled message after `n`, then new ones as they come; so a supervisor that died is
replaced without a lost or doubled message. Without any supervisor the agent trains on, and after
`orphan_limit_s` saves and ends its ranks.

Commands: `hello`, `start` (order), `stop` (save, by), `end` (why), `finish`, `ping`, `leave`; from
what mpirun started: `register`, `rank_started`, `rank_ended` (`launcher.agent.mpirun_child`).
Messages: docs/design/agent-messages.md.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import sys
import time
from collections import deque
from pathlib import Path

from launcher.agent.ranks import RankGroup
from launcher.core.plan.orders import NodeOrder
from launcher.core.run.paths import agent_part, endpoint_file, node_journal
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.ipc.channel import Channel, ChannelClosedError, Message
from launcher.ipc.endpoint import Endpoint
from launcher.process import guard, spawn
from launcher.process.log import log_line
from launcher.process.spawn import Exit, SpawnedProcess
from launcher.store.journal import Journal, read_lines

TICK_S = 0.05
IDLE_LIMIT_S = 120.0
"""An agent that was told to start nothing leaves after this."""


class Agent:
    """The loop: children, commands, logs, time."""

    def __init__(self, journal: Journal, endpoint: Endpoint) -> None:
        self._journal = journal
        self._told = 0
        self._unsaved: deque[Message] = deque()
        self._is_troubled = False
        self._endpoint = endpoint
        self._channels: list[Channel] = []
        self._listeners: list[Channel] = []
        """Those who said hello: a new message before the old ones would hide them."""
        self._monitors: dict[Channel, int] = {}
        """Those that mpirun started for a rank -> pid of the rank."""
        self._selector = selectors.DefaultSelector()
        self._node: RankGroup | None = None
        self._leave = False
        self._is_ending = False
        self._alone_since = time.monotonic()

    def run(self) -> int:
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
        return 0

    def watch(self, pid: int) -> None:
        """Notices the end of a child."""
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)

    def tell(self, message: Message) -> None:
        """Journals a message and sends it to everybody who is connected."""
        self._told += 1
        numbered = {"n": self._told, "t": time.time(), **message}
        self._unsaved.append(numbered)
        self._save()
        for channel in list(self._listeners):
            self._send(channel, numbered)

    def _save(self) -> None:
        """Writes what is not in the journal yet; on a full disk it stays in memory."""
        try:
            while self._unsaved:
                self._journal.append(self._first_unsaved, sync=False)
                self._unsaved.popleft()
        except OSError as error:
            if not self._is_troubled:
                log_line(f"the journal cannot be written: {error}")
            self._is_troubled = True
        else:
            self._is_troubled = False

    def _first_unsaved(self, n: int) -> str:
        # Nobody else writes while this agent lives: n is the number that it was given.
        return json.dumps(self._unsaved[0], separators=(",", ":"))

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
            messages = source.receive()
            for message in messages:
                self._obey(source, message)
            if source.closed:
                self._forget(source)

    def _process_ended(self, pidfd: int, pid: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        ended = spawn.reap_one(pid)
        if ended is not None and self._node is not None:
            self._node.child_ended(ended)

    def _turn(self) -> None:
        if self._node is not None:
            spawn.reap_others(self._node.living)
        now = time.monotonic()
        for channel in list(self._channels):
            self._flush(channel)
        self._endpoint.reopen_if_gone(now)
        self._save()
        if self._channels:
            self._alone_since = now
        if self._node is None:
            if now - self._alone_since > IDLE_LIMIT_S:
                self._leave = True
            return
        self._node.turn(now)
        if self._is_ending and self._node.is_over:
            self._leave = True
        alone_s = now - self._alone_since
        if alone_s > self._node.order.limits.orphan_limit_s:
            if self._node.is_over:
                self._leave = True
            else:
                self._node.stop(save=True, why=f"no supervisor for {alone_s:.0f} s")

    def _obey(self, channel: Channel, message: Message) -> None:
        command = message.get("cmd")
        if command in ("register", "rank_started", "rank_ended"):
            self._obey_monitor(channel, str(command), message)
        elif command == "hello":
            after = message.get("after", 0)
            saved = [line for n, line in read_lines(self._journal.path) if n > after]
            unsaved = [message for message in self._unsaved if message["n"] > after]
            for line in (*saved, *unsaved):
                self._send(channel, line)
            if not channel.closed and channel not in self._listeners:
                self._listeners.append(channel)
        elif command == "start" and self._node is None:
            try:
                order = from_plain(NodeOrder, message.get("order"))
            except Mismatch as error:
                self.tell({"type": "launch_failed", "text": f"unreadable order: {error}"})
                return
            self._node = RankGroup(order, self.tell, self.watch)
            self._node.start()
        elif command == "stop" and self._node is not None:
            self._node.stop(save=bool(message.get("save", True)), why=str(message.get("by", "")))
        elif command == "end" and self._node is not None:
            self._node.end(str(message.get("why", "")))
        elif command == "finish" and self._node is not None:
            self._node.finish()
        elif command == "ping":
            self._send(channel, {"type": "pong", "n": 0, "t": time.time()})
        elif command == "leave":
            if self._node is None or self._node.is_over:
                self._leave = True
            else:
                self._node.end("told to leave")

    def _obey_monitor(self, channel: Channel, command: str, message: Message) -> None:
        rank = int(message.get("rank", -1))
        order = None if self._node is None else self._node.awaited(rank)
        if command == "register":
            # It is no supervisor: nothing is told to it, and alone with it we are alone.
            if channel in self._channels:
                self._channels.remove(channel)
            self._monitors[channel] = 0
            reply: Message = {"type": "order", "text": "it is not to run on this node now"}
            if self._node is not None and order is not None:
                reply = {"order": to_plain(order), "token": self._node.order.token}
            self._send(channel, reply)
        elif command == "rank_started" and self._node is not None and order is not None:
            ticks, start_s = int(message["start_ticks"]), float(message["start_time_s"])
            self._monitors[channel] = int(message["pid"])
            self._node.joined(SpawnedProcess(order, int(message["pid"]), ticks, start_s))
        elif command == "rank_ended" and self._node is not None:
            pid = int(message["pid"])
            code, number = message.get("exit_code"), message.get("signal")
            self._node.child_ended(Exit(pid, code, number, float(message["time"])))
            self._monitors[channel] = 0

    def _end(self, why: str) -> None:
        self._is_ending = True
        if self._node is None:
            self._leave = True
        elif not self._node.is_over:
            self._node.stop(save=True, why=why)

    def _flush(self, channel: Channel) -> None:
        try:
            channel.flush()
        except ChannelClosedError:
            self._forget(channel)

    def _send(self, channel: Channel, message: Message) -> None:
        try:
            channel.send(message)
        except ChannelClosedError:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
        if channel in self._listeners:
            self._listeners.remove(channel)
        pid = self._monitors.pop(channel, 0)
        if pid and self._node is not None:
            # Whoever killed it leaves the rank without a parent, which the kernel then ends.
            self._node.child_ended(Exit(pid, None, signal.SIGKILL, time.time()))
        # A closed socket has no number any more: the selector is searched by object.
        for key in list(self._selector.get_map().values()):
            if key.fileobj is channel:
                self._selector.unregister(channel)
        channel.close()


def serve(arguments: argparse.Namespace) -> int:
    root = Path(arguments.root)
    attempt_root = root / "attempts" / f"{arguments.attempt:03d}"
    journal_path = node_journal(attempt_root, arguments.node)
    journal = Journal(journal_path)
    endpoint = Endpoint(
        root, agent_part(arguments.attempt, arguments.node), endpoint_file(journal_path)
    )

    def agent() -> int:
        guard.become_subreaper()
        try:
            return Agent(journal, endpoint).run()
        finally:
            endpoint.close()

    def died(status: int, left: tuple[int, ...]) -> None:
        ended = spawn.exit_of(0, status)
        message = {
            "type": "agent_died",
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "leftover": list(left),
        }
        # The agent may have died in the middle of a line: the journal mends that.
        journal.append(lambda n: json.dumps({"n": n, "t": time.time(), **message}))
        endpoint_file(journal_path).unlink(missing_ok=True)

    return guard.run_guarded(arguments.token, agent, died)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launcher.agent", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve")
    server.add_argument("--root", required=True)
    server.add_argument("--node", required=True)
    server.add_argument("--attempt", type=int, required=True)
    server.add_argument("--token", required=True)
    return serve(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
