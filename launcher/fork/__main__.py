"""`python -m launcher.fork MODULE [ROOM]`: imports for the ranks of a node, once, and forks them.

The agent starts it as it starts a rank, with a socket as file descriptor 3, over which it sends the
ranks (`launcher.process.forking`). MODULE is imported first. Each rank then prepares itself as
`launcher.rank` does, and runs its program in this interpreter instead of in a new one.

A rank's parent is the agent, which is a subreaper: between the two is a process that only forks and
exits. So the agent learns of a rank's end, and the rank of the agent's, as without a fork.

A fork keeps the command and the environment that `ps` and /proc show. Each rank writes its own over
them, where ROOM and the variable `EFFNET_ROOM` keep room for it.

As long as the agent keeps the socket open, this process waits for the ranks of another attempt. It
forks them too when what it has imported is what they would import.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
import traceback
from typing import Any

from launcher import rank
from launcher.fork import MESSAGE_BYTES, ROOM, SOCKET_FD
from launcher.fork.imported import Imported
from launcher.fork.shown import change, show

POLL_S = 0.0005
AT_IMPORT = ("GLOG_log_dir", "GLOG_logtostderr")
"""With these MindSpore chooses a file by the rank's number, while it is imported."""


def main(argv: list[str] | None = None) -> int:
    module = (sys.argv[1:] if argv is None else argv)[0]
    agent = socket.socket(fileno=SOCKET_FD)
    request = _received(agent)
    if request is None:
        os._exit(0)
    everywhere = os.sched_getaffinity(0)
    imported = Imported(request["jobs"][0]["cpus"])
    _import_as(request["jobs"][0], module)
    why = _unsafe()
    imported.note_files()
    gc.freeze()  # a collection would copy the pages that the ranks share
    while request is not None and not why:
        for job in request["jobs"]:
            if _is_forked(job, agent):
                agent.close()
                os.sched_setaffinity(0, everywhere)
                return _run(job)
        request = _received(agent)
        if request is not None:
            why = imported.why_not(request) or _unsafe()
            if not why:
                _take(request, imported, agent)
    if why:
        _tell(agent, refused=why)
    os._exit(0)


def _received(agent: socket.socket) -> dict[str, Any] | None:
    """The next ranks; None when there are none: the agent has closed it, or the time is over."""
    while True:
        try:
            text, files, _, _ = socket.recv_fds(agent, MESSAGE_BYTES, 1)
        except OSError:  # the time is over, or the agent has died
            return None
        if files:
            agent.settimeout(None)
            with open(files[0], "rb") as content:
                content.seek(0)
                request: dict[str, Any] = json.load(content)
            return request
        if not text:
            return None
        # By our own clock: whoever is to end this process may be gone by then.
        agent.settimeout(json.loads(text)["wait_s"])


def _take(request: dict[str, Any], imported: Imported, agent: socket.socket) -> None:
    """Becomes the parent of another attempt's ranks."""
    changed = imported.changed(request["environment"])
    os.environ.update(changed)
    change(changed)
    rank.open_log(request["log"])
    _tell(agent, taken=True)


def _import_as(job: dict[str, Any], module: str) -> None:
    """On as many cores as a rank has: libraries count them. What fails here fails in the ranks."""
    cpus = set(job["cpus"]) & os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 whatever it is, each rank will say it in its own log
        traceback.print_exc()


def _unsafe() -> str:
    """Why the ranks cannot be forked; empty when they can."""
    for name in AT_IMPORT:
        if name in os.environ:
            return f"{name} is set"
    threads = len(os.listdir("/proc/self/task"))
    return "" if threads == 1 else f"the import left {threads} threads"


def _is_forked(job: dict[str, Any], agent: socket.socket) -> bool:
    """True in the rank, when the agent knows of it; False here. Raises `OSError`."""
    child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            raise OSError(f"rank {job['rank']} could not be forked")
        return False
    told, tell = os.pipe()
    between, pid = os.getpid(), -1
    try:
        pid = os.fork()
        if pid:
            _tell(agent, rank=job["rank"], pid=pid)
            os.write(tell, b"\0")
    finally:
        if pid:
            os._exit(int(pid < 0))
    os.close(tell)
    if not os.read(told, 1):
        os._exit(1)  # nobody has told the agent: it would start this rank again
    os.close(told)
    while os.getppid() == between:
        time.sleep(POLL_S)
    return True


def _tell(agent: socket.socket, **message: object) -> None:
    agent.send(json.dumps(message).encode())


def _run(job: dict[str, Any]) -> int:
    """The rank's program, which is `PYTHON -m MODULE ARGUMENT...`, in this process."""
    os.environ.update(job["environment"])
    os.environ.pop(ROOM, None)
    program = rank.prepare(job["arguments"])
    if isinstance(program, int):
        return program
    show(program, job["environment"])
    sys.argv = program[2:]
    runpy.run_module(program[2], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
