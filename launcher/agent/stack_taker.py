"""Takes the stacks of a node's ranks: sends the signal, reads what each wrote."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.agent.hang_watch import read_heartbeat
from launcher.core.diagnosis.hang import STOPPED_STATES
from launcher.core.diagnosis.stacks import RankStacks, ThreadStack, parse_dump, parse_py_spy
from launcher.core.messages import Report, StacksOfRank
from launcher.core.plan.model import Plan
from launcher.core.run.events import Event
from launcher.core.run.heartbeat import Phase
from launcher.core.run.paths import RankPaths, RunPaths
from launcher.process import ownership
from launcher.process.ownership import Process
from launcher.rank import TOKEN

SIGNAL = signal.SIGRTMIN + 7
"""`effnet/contract/reporter.py` has its handler (docs/report-format.md)."""
ANSWER_S = 2.0
PY_SPY_S = 1.0
MAX_DUMP_BYTES = 1 << 18
PY_SPY = "py-spy"

_SYSTEM_CALLS = {
    "x86_64": "0 read,1 write,7 poll,17 pread64,35 nanosleep,45 recvfrom,47 recvmsg,61 wait4,"
    "73 flock,74 fsync,202 futex,230 clock_nanosleep,232 epoll_wait,257 openat,271 ppoll,"
    "281 epoll_pwait",
    "aarch64": "22 epoll_pwait,32 flock,56 openat,63 read,64 write,67 pread64,73 ppoll,82 fsync,"
    "98 futex,101 nanosleep,115 clock_nanosleep,207 recvfrom,212 recvmsg,260 wait4",
}
"""Those in which processes wait, by architecture; others are shown by their number."""


@dataclass
class _Rank:
    """A rank whose stacks are awaited."""

    rank: int
    process: Process
    offset: int
    blocked: frozenset[int]
    """Threads that had blocked the signal before it was sent."""
    until: float
    why: str = ""
    """Why it cannot answer; its stacks come from py-spy, if at all."""
    helper: threading.Thread | None = None
    seen: list[tuple[ThreadStack, ...]] = field(default_factory=list)
    """What py-spy saw."""


class StackTaker:
    """Of one node. `pids` are its ranks that live now; `emit` gets a `StacksOfRank` for each."""

    def __init__(
        self,
        plan: Plan,
        token: str,
        pids: Callable[[], Mapping[int, int]],
        emit: Callable[[Event | Report], None],
    ) -> None:
        self._node = plan.node.name
        self._token = token
        self._pids = pids
        self._emit = emit
        self._paths = RunPaths(Path(plan.run_directory)).attempt(plan.attempt)
        self._asked_s = 0.0
        self._open: dict[int, _Rank] = {}

    def take(self, asked_s: float) -> None:
        """Begins; `turn` does the rest. A request that is not newer is ignored."""
        if asked_s <= self._asked_s:
            return
        self._asked_s = asked_s
        until = time.monotonic() + ANSWER_S
        for rank, pid in self._pids().items():
            process = ownership.read_process(pid)
            if process is not None and ownership.variable_of(pid, TOKEN) == self._token:
                self._open[rank] = self._ask(rank, process, until)

    def turn(self, now: float) -> None:
        """Passes on what came since. `now` is monotonic seconds."""
        for rank in list(self._open.values()):
            found = self._answer_of(rank, now)
            if found is not None:
                del self._open[rank.rank]
                self._emit(StacksOfRank(self._asked_s, found))

    def _files(self, rank: int) -> RankPaths:
        return self._paths.rank(rank)

    def _ask(self, rank: int, process: Process, until: float) -> _Rank:
        """A program without a handler would be ended by the signal: it does not get it."""
        blocked = _blocking(process.pid)
        asked = _Rank(rank, process, _size(self._files(rank).stacks), blocked, until)
        if process.state in STOPPED_STATES:
            asked.why = "its process is stopped"
        elif self._is_leaving(rank):
            asked.why = "it is done"
        elif not _has(process.pid, "SigCgt") or not self._files(rank).stacks.exists():
            asked.why = "it has no handler"
        elif not _has(process.pid, "ShdPnd"):  # else one that it got before is still to come
            ownership.send_signal(process, SIGNAL)
        if asked.why:
            self._watch(asked)
        return asked

    def _is_leaving(self, rank: int) -> bool:
        beat = read_heartbeat(self._files(rank).heartbeat)
        return beat is not None and beat.phase is Phase.DONE

    def _answer_of(self, rank: _Rank, now: float) -> RankStacks | None:
        """What the rank does; `None` while it may still answer."""
        if rank.helper is not None:
            if rank.helper.is_alive():
                return None
            return self._facts(rank, rank.seen[0] if rank.seen else ())
        if threads := self._written(rank):
            return self._facts(rank, threads)
        if now < rank.until and ownership.is_alive(rank.process.pid, rank.process.start_time):
            return None
        rank.why = f"no answer within {ANSWER_S:g} s"
        self._watch(rank)
        return None

    def _written(self, rank: _Rank) -> tuple[ThreadStack, ...]:
        """Its dump, when all of it is there: the handler has the signal blocked while it writes."""
        path, pid = self._files(rank.rank).stacks, rank.process.pid
        if _size(path) <= rank.offset or _has(pid, "ShdPnd") or _blocking(pid) - rank.blocked:
            return ()
        with path.open("rb") as file:
            file.seek(max(rank.offset, _size(path) - MAX_DUMP_BYTES))
            return parse_dump(file.read(MAX_DUMP_BYTES).decode("utf-8", "replace"))

    def _facts(self, rank: _Rank, threads: tuple[ThreadStack, ...]) -> RankStacks:
        pid = rank.process.pid
        process, beat = (
            ownership.read_process(pid),
            read_heartbeat(self._files(rank.rank).heartbeat),
        )
        return RankStacks(
            rank.rank,
            self._node,
            threads,
            "" if beat is None else beat.phase.value,
            "" if process is None else process.state,
            _read(f"/proc/{pid}/wchan").strip("0 \n"),
            _system_call(pid),
            "" if threads else rank.why,
        )

    def _watch(self, rank: _Rank) -> None:
        """Asks py-spy, where it is installed: it needs no answer of the rank."""
        beside = Path(sys.executable).with_name(PY_SPY)
        program = str(beside) if beside.exists() else shutil.which(PY_SPY)

        def watch() -> None:
            argv = [str(program), "dump", "--json", "--nonblocking", "--pid", str(rank.process.pid)]
            try:
                done = subprocess.run(argv, capture_output=True, timeout=PY_SPY_S, check=False)
            except (OSError, subprocess.SubprocessError):
                return
            rank.seen.append(parse_py_spy(done.stdout.decode("utf-8", "replace")))

        rank.helper = threading.Thread(target=watch if program else lambda: None, daemon=True)
        rank.helper.start()


def _has(pid: int, name: str) -> bool:
    """Whether our signal is in a mask of /proc/PID/status."""
    return _in_mask(_read(f"/proc/{pid}/status"), name)


def _blocking(pid: int) -> frozenset[int]:
    """The threads that block our signal now."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return frozenset()
    statuses = ((thread, _read(f"/proc/{pid}/task/{thread}/status")) for thread in threads)
    return frozenset(thread for thread, text in statuses if _in_mask(text, "SigBlk"))


def _in_mask(status: str, name: str) -> bool:
    found = status.partition(f"\n{name}:")[2].split(maxsplit=1)
    return bool(found) and bool(int(found[0], 16) >> (SIGNAL - 1) & 1)


def _system_call(pid: int) -> str:
    number = _read(f"/proc/{pid}/syscall").partition(" ")[0].strip()
    names = _SYSTEM_CALLS.get(platform.machine(), "").split(",")
    known = dict(name.split() for name in names if name)
    return known.get(number, number) if number.isdecimal() else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
