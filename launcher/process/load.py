"""What processes and their node have used and waited for so far, and the memory that they may use.

Everything is read from /proc and the cgroups of a process, both versions. A kernel or a container
that lacks a file gives no figure for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")

Counters = Mapping[str, float]


class Rates:
    """How fast counters grow."""

    def __init__(self) -> None:
        self._before: dict[Hashable, tuple[float, Counters]] = {}

    def of(self, key: Hashable, counters: Counters) -> dict[str, float]:
        """Growth per second since the last call with this key; none the first time."""
        now = time.monotonic()
        before = self._before.get(key)
        self._before[key] = now, counters
        if before is None or now <= before[0]:
            return {}
        return {
            name: (value - before[1][name]) / (now - before[0])
            for name, value in counters.items()
            # A thread or a cgroup that is gone takes its counts with it.
            if name in before[1] and value >= before[1][name]
        }


def of_process(pid: int) -> dict[str, float]:
    """Seconds (`_s`) and counts of one process and its threads; empty when it is gone."""
    found: dict[str, float] = {}
    try:
        stat = _fields((_PROC / str(pid) / "stat").read_bytes())
        found["cpu_s"] = (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
        found["major_faults"] = int(stat[9])
    except (OSError, IndexError, ValueError):
        return {}
    waits = []
    for data in _of_threads(pid, "schedstat"):
        with contextlib.suppress(IndexError, ValueError):
            waits.append(int(data.split(None, 2)[1]) / 1e9)
    if waits:
        found["core_wait_s"] = sum(waits)
    places = _groups_of(pid)
    found |= _throttled(places)
    found |= _limit_hits(places)
    for name in ("io", "memory"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            found[f"{name}_pressure_s"] = _pressure_s(name, places)
    return found


def of_node() -> dict[str, float]:
    """Counters of this machine: `disk_s:NAME` are the seconds in which a disk was busy."""
    times = psutil.cpu_times()
    found = {"io_wait_s": float(times.iowait), "cpu_s": float(sum(times))}
    with contextlib.suppress(OSError, ValueError, RuntimeError, NotImplementedError):
        for name, disk in (psutil.disk_io_counters(perdisk=True) or {}).items():
            found[f"disk_s:{name}"] = getattr(disk, "busy_time", 0) / 1000
    with contextlib.suppress(OSError, ValueError, IndexError):
        names, values = (
            line.split()
            for line in (_PROC / "net/snmp").read_text("ascii").splitlines()
            if line.startswith("Tcp:")
        )
        found["retransmits"] = int(values[names.index("RetransSegs")])
    with contextlib.suppress(OSError, ValueError):
        cards = psutil.net_io_counters(pernic=True).values()
        found["network_errors"] = sum(c.errin + c.errout + c.dropin + c.dropout for c in cards)
    return found


def is_blocked(pid: int) -> bool:
    """Whether one of its threads is in uninterruptible sleep now."""
    return any(b") D " in data for data in _of_threads(pid, "stat"))


def memory_limit_bytes(pid: int) -> int | None:
    """What this machine has, or the cgroup with the least around the process, as a job's."""
    limits = []
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    places = _groups_of(pid)
    for controller, name in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        if (group := places.get(controller)) is not None:
            # In a container the hierarchy begins with its own cgroup, which has a limit, too.
            for folder in (*group.upwards(), group.top):
                with contextlib.suppress(OSError, ValueError):  # "max" is no number
                    limits.append(int((folder / name).read_text("ascii")))
    return min(limits, default=None)


def oom_kills(pid: int) -> int | None:
    """How many processes of its cgroup, or else of this machine, the kernel killed for memory.

    The nearest cgroup around it counts whose memory is. None where that is not counted.
    """
    places = _groups_of(pid)
    files = [places["memory"].folder / "memory.oom_control"] if "memory" in places else []
    if (group := places.get("")) is not None:
        files += [folder / "memory.events" for folder in (*group.upwards(), group.top)]
    known = (_numbers(path).get("oom_kill") for path in files)
    return next((count for count in known if count is not None), machine_oom_kills())


def machine_oom_kills() -> int | None:
    """The same of this machine, and all of its containers."""
    return _numbers(_PROC / "vmstat").get("oom_kill")


def _fields(stat: bytes) -> list[bytes]:
    # The name in parentheses may have spaces; after it come the state and the numbers.
    return stat.rpartition(b")")[2].split()


def _of_threads(pid: int, name: str) -> Iterator[bytes]:
    """A file of each thread. A rank has hundreds, so that nothing but system calls is made."""
    folder = f"{_PROC}/{pid}/task"
    with contextlib.suppress(OSError):
        for thread in os.listdir(folder):
            try:
                fd = os.open(f"{folder}/{thread}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                data = os.read(fd, 1024)
            except OSError:
                continue
            finally:
                os.close(fd)
            yield data


@dataclass(frozen=True)
class _Group:
    """A cgroup: where its files are, and the folder at which its hierarchy begins here."""

    folder: Path
    top: Path

    def upwards(self) -> Iterator[Path]:
        """Itself and the cgroups that it is in: each can limit it."""
        folder = self.folder
        while folder != self.top and self.top in folder.parents:
            yield folder
            folder = folder.parent


def _groups_of(pid: int) -> dict[str, _Group]:
    """Controller, or `""` for version 2 -> the cgroup of a process."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / str(pid) / "cgroup").read_text("utf-8", "replace").splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                if name in _mounts():
                    top, root = _mounts()[name]
                    # In a container the path may be that of the host.
                    inside = path if root == "/" else path.removeprefix(root)
                    found[name] = _Group(top / inside.strip("/"), top)
    return found


@functools.cache
def _mounts() -> dict[str, tuple[Path, str]]:
    """Controller, or `""` for version 2 -> its mount point, and the cgroup that is there."""
    found: dict[str, tuple[Path, str]] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / "self/mountinfo").read_text("utf-8", "replace").splitlines():
            before, _, after = line.partition(" - ")
            root, point = before.split()[3:5]
            kind, _, options = after.split(maxsplit=2)
            if kind == "cgroup2":
                found.setdefault("", (Path(point), root))
            elif kind == "cgroup":
                for name in options.split(","):
                    found.setdefault(name, (Path(point), root))
    return found


def _numbers(path: Path) -> dict[str, int]:
    """A file of lines `name number`."""
    with contextlib.suppress(OSError, ValueError):
        return {
            name: int(value)
            for name, value in (line.split() for line in path.read_text("ascii").splitlines())
        }
    return {}


def _throttled(places: Mapping[str, _Group]) -> dict[str, float]:
    seconds: list[float] = []
    for controller, name, unit in (("cpu", "throttled_time", 1e9), ("", "throttled_usec", 1e6)):
        if controller in places:
            known = (_numbers(at / "cpu.stat") for at in places[controller].upwards())
            seconds += [numbers[name] / unit for numbers in known if name in numbers]
    return {"throttled_s": sum(seconds)} if seconds else {}


def _limit_hits(places: Mapping[str, _Group]) -> dict[str, float]:
    hits: list[int] = []
    if "memory" in places:
        for folder in places["memory"].upwards():
            with contextlib.suppress(OSError, ValueError):
                hits.append(int((folder / "memory.failcnt").read_text("ascii")))
    if "" in places:
        for folder in places[""].upwards():
            events = _numbers(folder / "memory.events.local") or _numbers(folder / "memory.events")
            hits += [events[name] for name in ("high", "max") if name in events]
    return {"limit_hits": sum(hits)} if hits else {}


def _pressure_s(name: str, places: Mapping[str, _Group]) -> float:
    """Seconds in which a task waited: of the cgroup where it has its own, else of the machine."""
    path = _PROC / "pressure" / name
    group = places.get("")
    if group is not None and group.folder != group.top:
        own = group.folder / f"{name}.pressure"
        path = own if own.is_file() else path
    some = path.read_text("ascii").splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6
