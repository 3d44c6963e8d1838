"""Carries an agent's messages and its ranks' files over one SSH channel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from launcher.agent.client import LocalTransport
from launcher.core.messages import NodeEnded
from launcher.core.run.paths import RunPaths, node_journal
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import MAX_FRAME_BYTES, parse_object
from launcher.errors import LaunchError, NoAgentError
from launcher.ipc import operations as op
from launcher.node.stdio import reply, send, write
from launcher.process import private
from launcher.remote.sync import FileSource
from launcher.store.atomic import write_file

QUIET_LIMIT_S = 10
"""A supervisor sends something every second; without it the connection is dead."""
COPY_EVERY_S = 0.2
GUARD_EVERY_S = 0.02


class _Attempt:
    """The node's part of one attempt, as a request names it."""

    def __init__(self, request: op.Launch | op.Connect | op.Sweep) -> None:
        there = request.attempt
        self.root = Path(there.root)
        folder = RunPaths(self.root).attempt(there.attempt).root
        self.transport = LocalTransport(there.node, self.root, there.attempt, there.token)
        self.journal = node_journal(folder, there.node)
        self.source = FileSource.of_request(folder, request.copy)

    def send_new(self) -> bool:
        """Sends new file content once. -> whether there was any."""
        messages = list(self.source.read())
        send(*messages)
        return bool(messages)

    def drain(self) -> None:
        while self.send_new():
            pass


def launch(request: op.Launch) -> NoReturn:
    attempt = _Attempt(request)
    private.make_folder(attempt.journal.parent)
    with attempt.journal.with_suffix(".lock").open("w") as lock:
        # A supervisor that died meanwhile may have sent the same request.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not attempt.transport.had_agent():
            private.make_folder(attempt.root / "checkpoint")
            private.require_own(attempt.root)
            (attempt.root / "stop").unlink(missing_ok=True)
            for path, content, mode in request.files:
                write_file(Path(path), content, mode)
            attempt.transport.launch().close()
    _relay(attempt)


def connect(request: op.Connect) -> NoReturn:
    _relay(_Attempt(request))


def sweep(request: op.Sweep) -> tuple[int, ...]:
    """The journal is complete then: its agent may have gone on until it was ended."""
    attempt = _Attempt(request)
    left = attempt.transport.sweep()
    attempt.drain()
    return left


def _relay(attempt: _Attempt) -> NoReturn:
    """Connects stdin and stdout to the agent until one of them ends. Then this process exits.

    Raises `NoAgentError` when the agent is dead, `LaunchError` when it does not answer.
    """
    address = attempt.transport.address()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address is None:
            raise FileNotFoundError("it has no address file")
        sock.connect(address.socket)
    except OSError as error:
        attempt.drain()
        kind = LaunchError if attempt.transport.is_agent_alive() else NoAgentError
        raise kind(f"no agent answers: {error}") from error
    reply(None)
    _Relay(attempt, sock).run()
    sys.exit()


class _Relay:
    def __init__(self, attempt: _Attempt, sock: socket.socket) -> None:
        self._attempt = attempt
        self._sock = sock
        self._rest = b""
        self._last_n = 0
        self._is_agent_gone = False
        self._is_ended = False
        """Whether the last report was passed on."""

    def run(self) -> None:
        # The default action ends this process, even one that is stuck in a write.
        signal.alarm(QUIET_LIMIT_S)
        copy_at = 0.0
        while True:
            agent = self._sock.fileno()
            sources, wait_s = [0, agent], COPY_EVERY_S
            if self._is_agent_gone:
                sources, wait_s = [0], GUARD_EVERY_S
                if self._is_last_report_sent():
                    self._attempt.drain()
                    return
            for ready in select.select(sources, [], [], wait_s)[0]:
                try:
                    data = os.read(ready, 1 << 16)
                except ConnectionResetError:
                    data = b""
                if not data:
                    if ready == 0:
                        return
                    self._is_agent_gone = True
                    break
                if ready == 0:
                    signal.alarm(QUIET_LIMIT_S)
                    if not self._is_agent_gone:
                        self._to_agent(data)
                else:
                    self._pass_on(data)
            if time.monotonic() >= copy_at:
                is_new = self._attempt.send_new()
                copy_at = 0.0 if is_new else time.monotonic() + COPY_EVERY_S

    def _to_agent(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError:
            self._is_agent_gone = True

    def _is_last_report_sent(self) -> bool:
        """Passes on what the guard of an agent that died writes, as if the agent had sent it."""
        is_guarded = self._attempt.transport.is_agent_alive()
        for _, message in self._attempt.transport.missed(self._last_n):
            self._pass_on(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        return self._is_ended or not is_guarded

    def _pass_on(self, data: bytes) -> None:
        """Whole lines of the agent; before its last message, everything that its ranks wrote."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_FRAME_BYTES:
            raise LaunchError(f"the agent sent a line of more than {MAX_FRAME_BYTES >> 20} MiB")
        for line in lines:
            with contextlib.suppress(Mismatch):
                message = parse_object(line)
                self._last_n = max(self._last_n, int(message.get("n", 0)))
                if message.get("kind") == NodeEnded.kind:
                    self._is_ended = True
                    self._attempt.drain()
            write(line + b"\n")


HANDLERS: op.Handlers = {
    op.Launch: launch,
    op.Connect: connect,
    op.Sweep: sweep,
}
