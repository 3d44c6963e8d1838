"""`python -m launcher.shell.node_side`: what a supervisor or a client runs on a node through SSH.

stdin begins with one line, the request: `{"mark": "…", "op": "…", …}`. stdout has whatever the
login shell said, then a line that is the mark, then JSON lines: `{"type": "file"}` messages
(`launcher.shell.mirror`) and one `{"type": "reply", "ok": …}`. After a reply to `launch` or
`connect` that is ok, stdin and stdout are the agent's channel, with file messages in between.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from launcher.core.codec import from_plain, to_plain
from launcher.core.profile import is_loopback
from launcher.errors import LaunchError, NodeError
from launcher.shell import checkpoint_files, device_ips, mirror
from launcher.shell.channel import Message
from launcher.shell.door import read_address
from launcher.shell.node_talk import reply, say, write
from launcher.shell.orders import NodeOrder, door_file, node_journal
from launcher.shell.run_files import write_file
from launcher.shell.transport import LocalTransport

QUIET_LIMIT_S = 10
"""A supervisor says something every second: when it does not, the connection is dead."""
COPY_EVERY_S = 0.2
PORTS = range(20000, 32000)


def main() -> int:
    request = json.loads(io.FileIO(0, closefd=False).readline())
    write(b"\n" + str(request["mark"]).encode() + b"\n")
    try:
        # What dies of a broken connection shall not leave a process that waits for ever.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return _operation(str(request["op"]))(request)
    except (LaunchError, OSError) as error:
        hint = error.hint if isinstance(error, LaunchError) else ""
        text = error.message if isinstance(error, LaunchError) else str(error)
        problems = getattr(error, "problems", ())
        kind = type(error).__name__
        node = getattr(error, "node", "")
        reply(ok=False, error=text, hint=hint, kind=kind, node=node, problems=list(problems))
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


class _Attempt:
    """The node's part of one attempt, as a request names it."""

    def __init__(self, request: Message) -> None:
        self.root = Path(str(request["root"]))
        self.folder = self.root / "attempts" / f"{int(request['attempt']):03d}"
        self.journal = node_journal(self.folder, str(request["node"]))
        self.transport = LocalTransport(
            str(request["node"]), self.root, int(request["attempt"]), str(request["token"])
        )
        copy = request.get("copy") or {}
        witness = copy.get("witness")
        # A folder that all machines share needs no copying, and must not be appended to itself.
        is_shared = bool(witness) and (self.folder / str(witness)).exists()
        offsets = {} if is_shared else copy.get("offsets", {})
        rewritten = () if is_shared else copy.get("rewritten", ())
        self.source = mirror.Source(self.folder, offsets, rewritten)

    def drain(self) -> None:
        while messages := self.source.read():
            say(*messages)


def _launch(request: Message) -> int:
    attempt = _Attempt(request)
    (attempt.root / "checkpoint").mkdir(parents=True, exist_ok=True)
    (attempt.root / "stop").unlink(missing_ok=True)
    for path, content, mode in request.get("files", ()):
        write_file(Path(path), content, mode)
    attempt.transport.launch().close()
    return _relay(attempt)


def _connect(request: Message) -> int:
    return _relay(_Attempt(request))


def _relay(attempt: _Attempt) -> int:
    """Between stdin, the agent and stdout, until any of them ends."""
    address = read_address(door_file(attempt.journal))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address is None:
            raise FileNotFoundError("no agent says where it is")
        sock.connect(address.socket)
    except OSError as error:
        attempt.drain()
        alive = address is not None and address.is_alive
        reply(ok=False, error=f"no agent answers: {error}", is_agent_alive=alive)
        return 1
    reply(ok=True)
    return _Relay(attempt, sock).run()


class _Relay:
    def __init__(self, attempt: _Attempt, sock: socket.socket) -> None:
        self._attempt = attempt
        self._sock = sock
        self._rest = b""

    def run(self) -> int:
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
                    return 0
                if ready == 0:
                    signal.alarm(QUIET_LIMIT_S)
                    self._sock.sendall(data)
                else:
                    self._pass_on(data)
            if time.monotonic() >= copy_at:
                messages = self._attempt.source.read()
                say(*messages)
                copy_at = 0.0 if messages else time.monotonic() + COPY_EVERY_S

    def _pass_on(self, data: bytes) -> None:
        """Whole lines of the agent's; before its last word, all that its ranks wrote."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if b'"type":"node_ended"' in line:
                self._attempt.drain()
            write(line + b"\n")


def _salvage(request: Message) -> int:
    """After an agent that died: the rest of its ranks' logs, and facts of rank 0."""
    attempt = _Attempt(request)
    facts = attempt.transport.salvage(from_plain(NodeOrder, request["order"]))
    attempt.drain()
    reply(ok=True, facts=facts)
    return 0


def _sweep(request: Message) -> int:
    reply(ok=True, left=_Attempt(request).transport.sweep())
    return 0


def _checkpoints(request: Message) -> int:
    found = checkpoint_files.find(Path(str(request["folder"])))
    reply(ok=True, found=to_plain(found))
    return 0


def _checkpoint(request: Message) -> int:
    """Facts of one checkpoint; with its sha256 where asked for."""
    path = Path(str(request["path"]))
    digest = checkpoint_files.sha256_of(path) if request.get("verify") else None
    reply(ok=True, facts=to_plain(checkpoint_files.facts_of(path)), sha256=digest)
    return 0


def _preflight(request: Message) -> int:
    """What a preflight or the doctor wants to know."""
    from launcher.shell.preflight.answers import answer

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
    "digest": "node_files:digest",
    "read_file": "node_files:read_file",
    "write_file": "node_files:write_file",
    "list_files": "node_files:list_files",
    "job_start": "node_jobs:start",
    "job_follow": "node_jobs:follow",
    "job_stop": "node_jobs:stop",
    "job_clear": "node_jobs:clear",
    "run_introduce": "node_runs:introduce",
    "run_preflight": "node_runs:preflight",
    "run_start": "node_runs:start",
    "run_ask": "node_runs:ask",
    "run_resume": "node_runs:resume",
    "run_choice": "node_runs:choice",
    "run_job": "node_runs:job",
    "run_job_stop": "node_runs:job_stop",
    "run_delete": "node_runs:delete",
    "run_follow": "node_runs:follow",
    "run_remove": "node_clean:remove_run",
    "leftovers": "node_clean:leftovers",
    "end_leftovers": "node_clean:end_leftovers",
}
"""Module and function of what is imported when it is asked for: most requests need none of it."""


def _operation(name: str) -> Callable[[Message], int]:
    if name in OPERATIONS:
        return OPERATIONS[name]
    module, _, function = ELSEWHERE[name].partition(":")
    found: Callable[[Message], int] = getattr(
        importlib.import_module(f"launcher.shell.{module}"), function
    )
    return found


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
