"""Carries an agent's messages and its ranks' files over one SSH channel."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from launcher.agent.client import LocalTransport
from launcher.core.run.paths import RunPaths, endpoint_file, node_journal
from launcher.core.text.records import MAX_FRAME_BYTES, encode
from launcher.errors import LaunchError, NoAgentError
from launcher.ipc import operations as op
from launcher.ipc.endpoint import read_address
from launcher.node.stdio import reply, send, write
from launcher.process import private
from launcher.remote.sync import FileSource
from launcher.store.atomic import write_file

QUIET_LIMIT_S = 10
"""A supervisor sends something every second; without it the connection is dead."""
COPY_EVERY_S = 0.2


class _Attempt:
    """The node's part of one attempt, as a request names it."""

    def __init__(self, request: op.Launch | op.Connect | op.Salvage | op.Sweep) -> None:
        there = request.attempt
        self.root = Path(there.root)
        folder = RunPaths(self.root).attempt(there.attempt).root
        self.journal = node_journal(folder, there.node)
        self.transport = LocalTransport(there.node, self.root, there.attempt, there.token)
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
    private.make_folder(attempt.root / "checkpoint")
    (attempt.root / "stop").unlink(missing_ok=True)
    for path, content, mode in request.files:
        write_file(Path(path), content, mode)
    attempt.transport.launch().close()
    _relay(attempt)


def connect(request: op.Connect) -> NoReturn:
    _relay(_Attempt(request))


def salvage(request: op.Salvage) -> list[dict[str, Any]]:
    """After an agent died: the rest of its ranks' logs, and events of rank 0."""
    attempt = _Attempt(request)
    events = attempt.transport.salvage(request.ranks)
    attempt.drain()
    return [encode(event) for event in events]


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
    address = read_address(endpoint_file(attempt.journal))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address is None:
            raise FileNotFoundError("it has no address file")
        sock.connect(address.socket)
    except OSError as error:
        attempt.drain()
        is_alive = address is not None and address.is_alive
        raise (LaunchError if is_alive else NoAgentError)(f"no agent answers: {error}") from error
    reply(None)
    _Relay(attempt, sock).run()
    sys.exit()


class _Relay:
    def __init__(self, attempt: _Attempt, sock: socket.socket) -> None:
        self._attempt = attempt
        self._sock = sock
        self._rest = b""

    def run(self) -> None:
        # The default action ends this process, even one that is stuck in a write.
        signal.alarm(QUIET_LIMIT_S)
        copy_at = 0.0
        while True:
            agent = self._sock.fileno()
            for ready in select.select([0, agent], [], [], COPY_EVERY_S)[0]:
                data = os.read(ready, 1 << 16)
                if not data:
                    if ready == agent:
                        self._attempt.drain()
                    return
                if ready == 0:
                    signal.alarm(QUIET_LIMIT_S)
                    self._sock.sendall(data)
                else:
                    self._pass_on(data)
            if time.monotonic() >= copy_at:
                is_new = self._attempt.send_new()
                copy_at = 0.0 if is_new else time.monotonic() + COPY_EVERY_S

    def _pass_on(self, data: bytes) -> None:
        """Whole lines of the agent; before its last message, everything that its ranks wrote."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_FRAME_BYTES:
            raise LaunchError(f"the agent sent a line of more than {MAX_FRAME_BYTES >> 20} MiB")
        for line in lines:
            if b'"kind":"node_ended"' in line:
                self._attempt.drain()
            write(line + b"\n")


HANDLERS: op.Handlers = {
    op.Launch: launch,
    op.Connect: connect,
    op.Salvage: salvage,
    op.Sweep: sweep,
}
