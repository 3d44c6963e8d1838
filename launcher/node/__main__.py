"""`python -m launcher.node`: what a supervisor or a client runs on a node through SSH.

stdin begins with one line, the request: `{"mark": "…", "op": "…", …}`. stdout has whatever the
login shell said, then a line that is the mark, then JSON lines: `{"type": "file"}` messages
(`launcher.remote.sync`) and one `{"type": "reply", "ok": …}`. After a reply to `launch` or
`connect` that is ok, stdin and stdout are the agent's channel, with file messages in between.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.core.profile.model import is_loopback
from launcher.core.text.codec import Mismatch, to_plain
from launcher.core.text.records import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    UnknownKindError,
    parse_object,
)
from launcher.errors import LaunchError, NodeError
from launcher.ipc.channel import Message
from launcher.machine import device_ips
from launcher.node.relay import (
    _connect,
    _launch,
    _salvage,
    _sweep,
)
from launcher.node.stdio import reply, write
from launcher.store import checkpoints

PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Request:
    """A request whose operation this version knows; the operation checks its own fields."""

    mark: str
    operation: str
    fields: Message


def parse_request(line: bytes) -> Request:
    """Raises `Mismatch`, and `UnknownKindError` for an operation of another version."""
    fields = parse_object(line)
    mark, operation = fields.get("mark"), fields.get("op")
    if not isinstance(mark, str) or not isinstance(operation, str):
        raise Mismatch("mark and op must be strings")
    if operation not in OPERATIONS and operation not in ELSEWHERE:
        raise UnknownKindError(f"unknown operation {operation[:80]!r}")
    return Request(mark, operation, fields)


def main() -> int:
    """A request that is malformed or unknown gets an error with the protocol's version."""
    # What dies of a broken connection shall not leave a process that waits for ever.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    line = io.FileIO(0, closefd=False).readline(MAX_FRAME_BYTES + 1)
    try:
        request = parse_request(line)
    except ValueError as error:
        write(b"\n" + _mark_of(line) + b"\n")
        return _refuse(str(error))
    write(b"\n" + request.mark.encode(errors="replace") + b"\n")
    try:
        return _operation(request.operation)(request.fields)
    except (LaunchError, OSError) as error:
        hint = error.hint if isinstance(error, LaunchError) else ""
        text = error.message if isinstance(error, LaunchError) else str(error)
        problems = getattr(error, "problems", ())
        kind = type(error).__name__
        node = getattr(error, "node", "")
        reply(ok=False, error=text, hint=hint, kind=kind, node=node, problems=list(problems))
        return 1
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return _refuse(f"{request.operation}: {type(error).__name__}: {error}")
    except RecursionError:
        return _refuse(f"{request.operation}: nested too deeply")


def _mark_of(line: bytes) -> bytes:
    """The mark of a request that can't be carried out: without it nobody reads the reply."""
    found = re.search(rb'"mark": ?"([\w-]{1,80})"', line[:4096])
    return b"-" if found is None else found[1]


def _refuse(why: str) -> int:
    reply(
        ok=False,
        error=f"the node can't carry out this request (protocol {PROTOCOL_VERSION}): {why[:500]}",
        hint="Install the same version of effnet-tui on all nodes.",
        kind="LaunchError",
        protocol=PROTOCOL_VERSION,
    )
    return 1


def _facts(request: Message) -> int:
    """What a plan needs to know of this machine."""
    import platform

    wanted = str(request.get("runs_directory") or "")
    address = str(request.get("master") or "")
    reply(
        ok=True,
        host=socket.gethostname(),
        python=sys.executable,
        version=platform.python_version(),
        cpus=sorted(os.sched_getaffinity(0)),
        device_ips=device_ips.asked(map(int, request.get("devices") or ())),
        runs_directory=os.path.expanduser(wanted) if wanted else "",
        port=_free_port(address) if address and not is_loopback(address) else 0,
        time=time.time(),
    )
    return 0


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in random.sample(PORTS, 200):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            try:
                sock.bind((address, port))
            except OSError as error:
                if error.errno == 99:
                    raise NodeError(
                        str(socket.gethostname()),
                        f"the master address {address} is not one of this machine's",
                        "Set master.address to an address of a node.",
                    ) from error
                continue
            return port
    raise NodeError(socket.gethostname(), f"no free port found on {address}")


def _checkpoints(request: Message) -> int:
    found = checkpoints.find(Path(str(request["folder"])))
    reply(ok=True, found=to_plain(found))
    return 0


def _checkpoint(request: Message) -> int:
    """Facts of one checkpoint; with its sha256 where asked for."""
    path = Path(str(request["path"]))
    digest = checkpoints.sha256_of(path) if request.get("verify") else None
    reply(ok=True, facts=to_plain(checkpoints.facts_of(path)), sha256=digest)
    return 0


def _preflight(request: Message) -> int:
    """What a preflight or the doctor wants to know."""
    from launcher.machine.answers import answer

    reply(ok=True, facts=answer(request))
    return 0


OPERATIONS: dict[str, Callable[[Message], int]] = {
    "facts": _facts,
    "launch": _launch,
    "connect": _connect,
    "salvage": _salvage,
    "sweep": _sweep,
    "checkpoints": _checkpoints,
    "checkpoint": _checkpoint,
    "preflight": _preflight,
}

ELSEWHERE = {
    "digest": "files:digest",
    "read_file": "files:read_file",
    "write_file": "files:write_file",
    "list_files": "files:list_files",
    "job_start": "jobs:start",
    "job_follow": "jobs:follow",
    "job_stop": "jobs:stop",
    "job_clear": "jobs:clear",
    "run_introduce": "runs:introduce",
    "run_preflight": "runs:preflight",
    "run_start": "runs:start",
    "run_ask": "runs:ask",
    "run_resume": "runs:resume",
    "run_choice": "runs:choice",
    "run_job": "runs:job",
    "run_job_stop": "runs:job_stop",
    "run_note": "runs:note",
    "run_delete": "runs:delete",
    "run_follow": "runs:follow",
    "run_remove": "cleanup:remove_run",
    "leftovers": "cleanup:leftovers",
    "end_leftovers": "cleanup:end_leftovers",
}
"""Module and function of what is imported when it is asked for: most requests need none of it."""


def _operation(name: str) -> Callable[[Message], int]:
    if name in OPERATIONS:
        return OPERATIONS[name]
    module, _, function = ELSEWHERE[name].partition(":")
    found: Callable[[Message], int] = getattr(
        importlib.import_module(f"launcher.node.{module}"), function
    )
    return found


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
