"""Leftovers of runs on this machine, found by token, never by name.

Processes with the token of a run and no supervisor, agents of runs that are over, shared memory of
ended ranks, files of unused sockets and ports. `launcher.cleanup.nodes` calls it on all nodes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from launcher.agent import shared_memory_watch
from launcher.core.messages import Leave
from launcher.core.text.figures import time_of_day
from launcher.ipc import socket_folder
from launcher.ipc.channel import connect
from launcher.ipc.endpoint import EndpointAddress, read_address
from launcher.ipc.operations import KnownRun, Leftover
from launcher.process import file_lock, ownership, shared_memory, termination
from launcher.process.ownership import Claim
from launcher.rank import TOKEN
from launcher.reading.folders import runs_directory
from launcher.store import owner
from launcher.store.run_lock import is_supervised

TERM_S, KILL_S = 3.0, 5.0
LEAVE_S = 20.0


def find_all(runs: Collection[KnownRun], *, only_these: bool) -> tuple[Leftover, ...]:
    """`only_these`: only processes of these runs, because a machine may serve many users."""
    found = [*_processes(runs, only_these), *_agents(runs), *_segments(runs)]
    return (*found, *_stale_files())


def end_all(strays: Collection[Leftover]) -> tuple[Leftover, ...]:
    """SIGTERM, SIGKILL, and a check. -> what is still there."""
    left: list[Leftover] = []
    agents = [stray for stray in strays if stray.kind == "agent"]
    for stray in agents:
        _dismiss(stray)
    deadline = time.monotonic() + LEAVE_S
    while any(map(_is_alive, agents)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left += [stray for stray in agents if _is_alive(stray)]
    for token in sorted({stray.token for stray in strays if stray.kind == "process"}):
        pids = termination.end_all(Claim(token), TERM_S, KILL_S)
        left += [Leftover("process", _command(pid), token, pid=pid, token=token) for pid in pids]
    for stray in strays:
        if stray.segment is not None:
            # Killed ranks have just unmapped it: check again.
            for segment in shared_memory.left_over([replace(stray.segment, size_bytes=0)]):
                left += [] if shared_memory.remove(segment) else [stray]
        elif stray.kind == "file":
            with contextlib.suppress(OSError):
                os.unlink(stray.what)
    return tuple(left)


def end_agents(run: KnownRun) -> tuple[Leftover, ...]:
    """Ends agents of a run that is over: they may keep warm what has imported for its ranks.

    -> what is still there.
    """
    return end_all(tuple(_agents((run,))))


def _processes(runs: Collection[KnownRun], only_these: bool) -> Iterator[Leftover]:
    """With a token that no agent, guard or job runner watches, of runs without a supervisor."""
    roots = {name: Path(item.root) for item in runs for name in (item.run, item.token)}
    if not only_these:
        roots |= {item.token: Path(item.path) for item in owner.all_owners()}
    everyone = sorted(ownership.all_processes(), key=lambda process: process.pid)
    watched = {ownership.variable_of(process.pid, ownership.WATCHES) for process in everyone}
    for process in everyone:
        token = ownership.variable_of(process.pid, TOKEN)
        whole = "" if token is None else token.rpartition("/")[0]
        if token is None or token in watched or (only_these and whole not in roots):
            continue
        run = ownership.run_of(token)
        if not _is_in_our_namespace(process.pid):
            continue  # in a container, where its watcher cannot be seen from outside
        if not is_supervised(roots.get(whole, runs_directory() / run)):
            command = _command(process.pid)
            yield Leftover("process", command, run, process.pid, process.start_time, token)


def _agents(runs: Collection[KnownRun]) -> Iterator[Leftover]:
    """Agents of runs that are over: they still wait for a supervisor."""
    for item in runs:
        if not item.is_over or is_supervised(Path(item.root)):
            continue
        for file in Path(item.root).glob("attempts/*/agents/*.json"):
            address = None if file.name.endswith(".shm.json") else _agent_at(file, item)
            if address is not None and address.is_alive:
                what = f"agent of {file.stem}, socket {address.socket}"
                if address.warm_until_s:
                    until = time_of_day(address.warm_until_s)
                    what = f"a warm process of {file.stem}: MindSpore is imported, until {until}"
                yield Leftover("agent", what, item.run, address.pid, address.start_ticks, str(file))


def _segments(runs: Collection[KnownRun]) -> Iterator[Leftover]:
    """Of attempts whose agent is gone: a living one removes its own."""
    for item in runs:
        for journal in sorted(Path(item.root).glob("attempts/*/agents/*.jsonl")):
            address = _agent_at(journal.with_suffix(".json"), item)
            if address is not None and address.is_alive:
                continue
            for segment in shared_memory_watch.left_by(journal.parent.parent, journal.stem):
                what = f"{segment.words}, {segment.size_bytes} bytes"
                yield Leftover("segment", what, item.run, segment=segment)


def _agent_at(file: Path, run: KnownRun) -> EndpointAddress | None:
    """The agent of the run; the file of a copied run directory has that of another run."""
    address = read_address(file)
    tokens = (f"{run.token}/", f"{run.run}/")
    is_ours = address is not None and any(ownership.is_watcher(address.pid, t) for t in tokens)
    return address if is_ours else None


def _stale_files() -> Iterator[Leftover]:
    """Unheld port locks and sockets without a listener, in our runtime folder."""
    for path in sorted(socket_folder.runtime_folder().iterdir()):
        is_port, is_socket = path.name.startswith("port-"), path.suffix == ".sock"
        if (is_port and not _is_locked(path)) or (is_socket and not _is_listening(path)):
            yield Leftover("file", str(path))


def _is_locked(path: Path) -> bool:
    try:
        return file_lock.is_held(path)
    except OSError:
        return True


def _is_listening(path: Path) -> bool:
    try:
        connect(str(path), 1.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def _dismiss(stray: Leftover) -> None:
    """The agent ends its processes, then exits."""
    address = read_address(Path(stray.token))
    with contextlib.suppress(OSError):
        if address is not None and _is_same(address, stray):
            channel = address.connect()
            channel.send(Leave())
            channel.close()


def _is_same(address: EndpointAddress, stray: Leftover) -> bool:
    return (address.pid, address.start_ticks) == (stray.pid, stray.start_ticks)


def _is_alive(stray: Leftover) -> bool:
    return ownership.is_alive(stray.pid, stray.start_ticks)


def _is_in_our_namespace(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return ""
