"""`python -m launcher.node`: a supervisor or a client runs it on a node over SSH.

stdin has a line for each request: `{"mark": "…", "kind": "…", …}`, an operation of
`launcher.ipc.operations`. stdout has what the login shell printed, then a line that is the mark,
then JSON lines: `{"type": "file"}` messages (`launcher.remote.sync`) and one
`{"type": "reply", "ok": …}`. After a reply to `launch` or `connect` that is ok, stdin and stdout
are the agent's channel, with file messages in between. After another reply that is ok, the process
waits `NEXT_REQUEST_S` for another request.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator

from launcher.core.text.codec import Mismatch
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    UnknownKindError,
    decode,
    parse_object,
)
from launcher.errors import LaunchError
from launcher.ipc import operations as op
from launcher.ipc import run_operations  # noqa: F401 a request of it can be decoded
from launcher.ipc.operations import Handlers, Operation, Refusal
from launcher.node import facts, files
from launcher.node.stdio import refuse, reply, write
from launcher.process import private


def handlers() -> Iterator[Handlers]:
    """Each module is imported when it is reached, the quick ones first."""
    yield {op.GetFacts: facts.get, **files.HANDLERS}
    from launcher.node import relay

    yield relay.HANDLERS
    from launcher.node import jobs

    yield jobs.HANDLERS
    from launcher.machine import answers

    yield answers.HANDLERS
    from launcher.node import cleanup

    yield cleanup.HANDLERS
    from launcher.node import watching

    yield watching.HANDLERS
    from launcher.node import runs

    yield runs.HANDLERS


NEXT_REQUEST_S = 5


def main() -> int:
    private.apply_umask()
    # Ends this process when the connection breaks.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    code, line = 0, read_line(MAX_FRAME_BYTES + 1)
    while True:
        code = serve(line)
        # The default action of its signal ends this process when no request comes.
        signal.alarm(NEXT_REQUEST_S)
        if code or not (line := read_line(MAX_FRAME_BYTES + 1)):
            return code
        signal.alarm(0)


def serve(line: bytes) -> int:
    """A request that is malformed or unknown gets an error with the protocol's version."""
    write(b"\n" + mark_of(line) + b"\n")
    try:
        request = decode(Operation, parse_object(line))
    except (Mismatch, UnknownKindError) as error:
        text = f"the node cannot read this request (protocol {PROTOCOL_VERSION}): {error!s:.500}"
        refuse(Refusal(text, "Install the same version of effnet-tui on all nodes."))
        return 1
    try:
        kind = type(request)
        reply(next(group[kind] for group in handlers() if kind in group)(request))
        return 0
    except (LaunchError, OSError, ValueError) as error:
        refuse(
            Refusal(
                error.message if isinstance(error, LaunchError) else str(error),
                getattr(error, "hint", ""),
                type(error).__name__,
                getattr(error, "node", ""),
                tuple(getattr(error, "problems", ())),
            )
        )
        return 1


def read_line(limit: int) -> bytes:
    """One line of stdin, and nothing of what is behind it: that is the agent's."""
    try:
        stdin = socket.socket(fileno=os.dup(0))
    except OSError:  # a pipe, which can only be read byte by byte
        return io.FileIO(0, closefd=False).readline(limit)
    line = bytearray()
    with stdin:
        while len(line) < limit and (block := stdin.recv(1 << 16, socket.MSG_PEEK)):
            line += stdin.recv(block.find(b"\n") + 1 or len(block))
            if line.endswith(b"\n"):
                break
    return bytes(line)


def mark_of(line: bytes) -> bytes:
    """The mark of a request that may be damaged: a client reads no reply without it."""
    found = re.search(rb'"mark": ?"([\w-]{1,80})"', line[:4096])
    return b"-" if found is None else found[1]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
