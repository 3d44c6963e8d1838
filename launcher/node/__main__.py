"""`python -m launcher.node`: what a supervisor or a client runs on a node through SSH.

stdin begins with one line, the request: `{"mark": "…", "kind": "…", …}`, an operation of
`launcher.ipc.operations`. stdout has what the login shell printed, then a line that is the mark,
then JSON lines: `{"type": "file"}` messages (`launcher.remote.sync`) and one
`{"type": "reply", "ok": …}`. After a reply to `launch` or `connect` that is ok, stdin and stdout
are the agent's channel, with file messages in between.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

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
from launcher.ipc.operations import Operation, Refusal
from launcher.node import facts, files, relay
from launcher.node.stdio import refuse, reply, write

Handlers = Mapping[type[Operation[Any]], Callable[[Any], Any]]

HANDLERS: Handlers = {
    op.GetFacts: facts.get,
    op.Launch: relay.launch,
    op.Connect: relay.connect,
    op.Salvage: relay.salvage,
    op.Sweep: relay.sweep,
    op.FindCheckpoints: files.find_checkpoints,
    op.ReadCheckpoint: files.read_checkpoint,
    op.DigestFile: files.digest,
    op.ReadFile: files.read,
    op.WriteFile: files.write,
    op.ListFiles: files.names,
}


def _job_handlers() -> Handlers:
    from launcher.node import jobs

    return {
        op.StartJob: jobs.start,
        op.FollowJob: jobs.follow,
        op.StopJob: jobs.stop,
        op.ClearJob: jobs.clear,
    }


def _check_handlers() -> Handlers:
    from launcher.machine import answers

    return answers.HANDLERS


def _cleanup_handlers() -> Handlers:
    from launcher.node import cleanup

    return {
        op.FindLeftovers: cleanup.find_leftovers,
        op.EndLeftovers: cleanup.end_leftovers,
        op.RemoveRun: cleanup.remove_run,
    }


def _run_handlers() -> Handlers:
    from launcher.node import runs

    return {
        op.ConnectNodes: runs.connect_nodes,
        op.CheckNodes: runs.check_nodes,
        op.StartRun: runs.start,
        op.SendToRun: runs.send,
        op.ChooseCheckpoint: runs.choose_checkpoint,
        op.ResumeRun: runs.resume,
        op.StartRunJob: runs.start_job,
        op.StopRunJob: runs.stop_job,
        op.SetNote: runs.set_note,
        op.DeleteRun: runs.delete,
        op.FollowRun: runs.follow,
    }


LATER = (_job_handlers, _check_handlers, _cleanup_handlers, _run_handlers)
"""Imported when they are needed, the quick ones first: most requests need none of these."""


def main() -> int:
    """A request that is malformed or unknown gets an error with the protocol's version."""
    # Ends this process when the connection breaks.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    line = io.FileIO(0, closefd=False).readline(MAX_FRAME_BYTES + 1)
    write(b"\n" + mark_of(line) + b"\n")
    try:
        request = decode(Operation, parse_object(line))
    except (Mismatch, UnknownKindError) as error:
        text = f"the node cannot read this request (protocol {PROTOCOL_VERSION}): {error!s:.500}"
        refuse(Refusal(text, "Install the same version of effnet-tui on all nodes."))
        return 1
    try:
        reply(handler_of(request)(request))
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


def handler_of(request: Operation[Any]) -> Callable[[Any], Any]:
    kind = type(request)
    return HANDLERS.get(kind) or next(group()[kind] for group in LATER if kind in group())


def mark_of(line: bytes) -> bytes:
    """The mark of a request, which may be damaged: without it nobody reads the reply."""
    found = re.search(rb'"mark": ?"([\w-]{1,80})"', line[:4096])
    return b"-" if found is None else found[1]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
