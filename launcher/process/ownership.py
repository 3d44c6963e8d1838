"""Which processes of this machine belong to a run: never by name, never by a pattern.

A process is ours when its environment has the run's token, or when it is in the session of a
process that we started and is not older than that. A process is signalled through a pidfd, after
its start time was compared, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from launcher.rank import TOKEN

WATCHES = "EFFNET_WATCHES"
"""In the environment of an agent, its guard or a job's runner: the token of what it will end."""


@dataclass(frozen=True)
class Process:
    """A process. `start_time` is in clock ticks since boot, as in /proc/PID/stat."""

    pid: int
    start_time: int
    parent: int
    session: int
    state: str

    @property
    def is_alive(self) -> bool:
        """Whether it is no zombie."""
        return self.state not in "ZX"

    @property
    def start_time_s(self) -> float:
        """Unix seconds."""
        return unix_time_of(self.start_time)


@dataclass(frozen=True)
class Claim:
    """What is ours on this machine.

    `token`: exact value of EFFNET_TOKEN, or a prefix that ends in `/`. `sessions`: pid and start
    time of processes that we started as session leaders. `root`: pid whose descendants are ours
    (the subreaper). `spare`: pids that are never ours (agent, guard). `of_watchers`: not the
    processes with the token but their agent and its guard.
    """

    token: str
    sessions: tuple[tuple[int, int], ...] = ()
    root: int | None = None
    spare: frozenset[int] = frozenset()
    of_watchers: bool = False


def read_process(pid: int) -> Process | None:
    """None when there is no such process (any more)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name is in brackets and may itself hold brackets and spaces.
    fields = text[text.rfind(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0].decode("ascii", "replace"),
        parent=int(fields[1]),
        session=int(fields[3]),
        start_time=int(fields[19]),
    )


def is_alive(pid: int, start_time: int | None) -> bool:
    """Whether exactly this process is there; a zombie is not. None: any start time."""
    process = read_process(pid)
    return (
        process is not None
        and process.is_alive
        and (start_time is None or process.start_time == start_time)
    )


def variable_of(pid: int, name: str) -> str | None:
    """A variable of the process; None when it has none or is not ours to read."""
    start = f"{name}=".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "replace")
    return None


def is_watcher(pid: int, token: str) -> bool:
    """Whether the process ends what has this token; `token` is as in a `Claim`."""
    return _matches(variable_of(pid, WATCHES), token)


def run_of(token: str) -> str:
    """The run's id in a token: `<secret>/<run>/<attempt or job>`, in earlier versions no secret."""
    return token.rpartition("/")[0].rpartition("/")[2]


def unix_time_of(ticks: int) -> float:
    """Unix seconds of a start time in clock ticks since boot."""
    since_boot_s = ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot_s


def all_processes() -> list[Process]:
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None and process.is_alive]


def owned(claim: Claim) -> list[Process]:
    """All living processes that are ours, lowest pid first."""
    processes = all_processes()
    descendants = _descendants(processes, claim.root)
    sessions = dict(claim.sessions)
    variable = WATCHES if claim.of_watchers else TOKEN
    mine = []
    for process in processes:
        if process.pid in claim.spare or process.pid == os.getpid():
            continue
        leader_start = sessions.get(process.session)
        if (
            process.pid in descendants
            or (leader_start is not None and process.start_time >= leader_start)
            or _matches(variable_of(process.pid, variable), claim.token)
        ):
            mine.append(process)
    return sorted(mine, key=lambda process: process.pid)


def _matches(token: str | None, claimed: str) -> bool:
    if token is None:
        return False
    return token.startswith(claimed) if claimed.endswith("/") else token == claimed


def _descendants(processes: Iterable[Process], root: int | None) -> set[int]:
    if root is None:
        return set()
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    frontier = [root]
    while frontier:
        for child in children.get(frontier.pop(), ()):
            if child not in found:
                found.add(child)
                frontier.append(child)
    return found


def send_signal(process: Process, number: int) -> bool:
    """True when exactly this process got the signal."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)
        if now is None or now.start_time != process.start_time:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(pidfd)


def signal_new(
    processes: Collection[Process], signalled: set[Process], number: signal.Signals
) -> None:
    """Signals those that are not in `signalled`, and adds them. A stopped one is continued."""
    known = {(process.pid, process.start_time) for process in signalled}
    for process in processes:
        if (process.pid, process.start_time) in known:
            continue
        signalled.add(process)
        send_signal(process, number)
        if process.state in "Tt":
            send_signal(process, signal.SIGCONT)
