"""`python -m launcher.fork MODULE [ROOM]`: imports for the ranks of a node, once, and forks them.

The agent starts it as it starts a rank, with a socket as file descriptor 3, over which it sends the
ranks (`launcher.process.forking`). MODULE is imported first. Each rank then prepares itself as
`launcher.rank` does, and runs its program in this interpreter instead of in a new one.

A rank's parent is the agent, which is a subreaper: between the two is a process that only forks and
exits. So the agent learns of a rank's end, and the rank of the agent's, as without a fork.

A fork keeps the command and the environment that `ps` and /proc show. Each rank writes its own over
them, where ROOM and the variable `EFFNET_ROOM` keep room for it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from launcher import rank

SOCKET_FD = 3
MESSAGE_BYTES = 1 << 16
ROOM = "EFFNET_ROOM"
POLL_S = 0.0005
AT_IMPORT = ("GLOG_log_dir", "GLOG_logtostderr")
"""With these MindSpore chooses a file by the rank's number, while it is imported."""


def main(argv: list[str] | None = None) -> int:
    module = (sys.argv[1:] if argv is None else argv)[0]
    agent = socket.socket(fileno=SOCKET_FD)
    jobs = _received(agent)
    everywhere = os.sched_getaffinity(0)
    _import_as(jobs[0], module)
    why = _unsafe()
    if why:
        _tell(agent, refused=why)
        return 0
    gc.freeze()  # a collection would copy the pages that the ranks share
    for job in jobs:
        if _is_forked(job, agent):
            agent.close()
            os.sched_setaffinity(0, everywhere)
            return _run(job)
    agent.recv(1)  # until the agent closes it
    os._exit(0)


def _received(agent: socket.socket) -> list[dict[str, Any]]:
    _, (file,), _, _ = socket.recv_fds(agent, MESSAGE_BYTES, 1)
    with open(file, "rb") as content:
        content.seek(0)
        jobs: list[dict[str, Any]] = json.load(content)
    return jobs


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
    _show(program, job["environment"])
    sys.argv = program[2:]
    runpy.run_module(program[2], run_name="__main__", alter_sys=True)
    return 0


def _show(program: Sequence[str], environment: Mapping[str, str]) -> None:
    """Overwrites what the kernel shows of this process, as far as there is room."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end, variables, variables_end = map(int, fields[45:49])
    _overwrite(start, end, program)
    shown = ctypes.string_at(variables, variables_end - variables)
    name = f"{ROOM}=".encode()
    for entry in shown.split(b"\0"):
        if entry.startswith(name):
            # Nothing uses it: `os.environ` of the rank does not have it.
            text = [f"{key}={value}" for key, value in environment.items()]
            _overwrite(variables, variables + len(entry) + 1, text)
        variables += len(entry) + 1


def _overwrite(start: int, end: int, words: Sequence[str]) -> None:
    content = b"".join(os.fsencode(word) + b"\0" for word in words)
    room = end - start
    ctypes.memmove(start, content[: room - 1].ljust(room, b"\0"), room)


if __name__ == "__main__":
    sys.exit(main())
